"""Distances between two sets of pictures or clips: FID, KID, FVD, with any feature network.

The two sets need not correspond frame by frame. A reference of one picture (a source) counts once per clip, however
many chunks the clip comes in.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torchmetrics.utilities.data import dim_zero_cat

from portrayal.errors import InputError
from portrayal.evaluate.distances import frechet_distance, kernel_distance
from portrayal.evaluate.metrics_base import ViewMetric
from portrayal.evaluate.view import View, require_finite

Features = nn.Module
"""Pictures (b, 3, h, w) in [0, 1], or clips (b, 3, t, h, w), to (b, c)."""


class DistributionMetric(ViewMetric):
    """Two growing sets of features."""

    higher_is_better = False

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features
        self._clip: str | None = None

    @abstractmethod
    def add(self, features: Tensor, which: int) -> None:
        """More features (n, c) of one side: 0 generated, 1 reference."""

    @torch.no_grad()
    def update(self, generated: View, reference: View) -> None:
        self.add(self.measure(generated), 0)
        if not (len(reference) == 1 and generated.clip == self._clip):
            self.add(self.measure(reference), 1)
        self._clip = generated.clip

    def measure(self, view: View) -> Tensor:
        """(n, c) features of a view."""
        require_finite(view)
        return self.features(view.images.float())

    def reset(self) -> None:
        super().reset()
        self._clip = None


class Frechet(DistributionMetric):
    """Frechet distance of two sets of picture features (Heusel et al. 2017, Eq. 6): FID with the Inception network.

    Sums and products of the features are kept in float64, so memory does not grow.
    """

    sums: Tensor
    products: Tensor
    counts: Tensor

    def __init__(self, features: Features, size: int) -> None:
        """
        Args:
            size: c, how many numbers `features` gives.
        """
        super().__init__(features)
        self.add_state("sums", torch.zeros(2, size, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("products", torch.zeros(2, size, size, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, features: Tensor, which: int) -> None:
        x = features.to(self.sums.device).double()
        self.sums[which] += x.sum(0)
        self.products[which] += x.mT @ x
        self.counts[which] += len(x)

    def compute(self) -> Tensor:
        if int(self.counts.min()) < 2:
            raise InputError("a Frechet distance needs at least two samples on each side")
        moments = []
        for which in range(2):
            n, mean = self.counts[which], self.sums[which] / self.counts[which]
            moments += [mean, (self.products[which] - n * torch.outer(mean, mean)) / (n - 1)]
        return frechet_distance(*moments)


class Fvd(Frechet):
    """Frechet video distance (Unterthiner et al. 2018): `Frechet` on features of `frames` consecutive frames.

    Each clip is cut into windows without overlap; frames left at the end do not count. A view must hold whole windows,
    or the whole clip.
    """

    def __init__(self, features: Features, size: int, *, frames: int = 16) -> None:
        super().__init__(features, size)
        self.frames = frames

    def measure(self, view: View) -> Tensor:
        require_finite(view)
        windows = len(view) // self.frames
        if windows == 0:
            raise InputError(f"{view.clip}: FVD needs at least {self.frames} frames, it has {len(view)}")
        clips = view.images[: windows * self.frames].float().unflatten(0, (windows, self.frames))
        return self.features(clips.transpose(1, 2))  # (windows, 3, frames, h, w)


class Kernel(DistributionMetric):
    """Squared maximum mean discrepancy with a cubic polynomial kernel (Binkowski et al. 2018): KID with Inception.

    The mean over `subsets` random subsets of both sides of `subset_size` features; the subsets follow from the seed.
    """

    generated: list[Tensor]
    reference: list[Tensor]

    def __init__(self, features: Features, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0) -> None:
        super().__init__(features)
        self.subsets, self.subset_size, self.seed = subsets, subset_size, seed
        self.add_state("generated", [], dist_reduce_fx="cat")
        self.add_state("reference", [], dist_reduce_fx="cat")

    def add(self, features: Tensor, which: int) -> None:
        (self.generated, self.reference)[which].append(features)

    def compute(self) -> Tensor:
        if not self.generated:
            raise InputError("there is nothing to measure: no frames were given")
        a, b = (_double(dim_zero_cat(features)) for features in (self.generated, self.reference))
        size = min(self.subset_size, len(a), len(b))
        if size < 2:
            raise InputError("a kernel distance needs at least two pictures on each side")
        if size == len(a) == len(b):
            return kernel_distance(a, b)
        generator = torch.Generator().manual_seed(self.seed)
        draws = []
        for _ in range(self.subsets):
            pick_a, pick_b = (torch.randperm(len(x), generator=generator)[:size].to(x.device) for x in (a, b))
            draws.append(kernel_distance(a[pick_a], b[pick_b]))
        return torch.stack(draws).mean()


def _double(x: Tensor) -> Tensor:
    """Float64, on the CPU where the device has none."""
    return (x.cpu() if x.device.type == "mps" else x).double()
