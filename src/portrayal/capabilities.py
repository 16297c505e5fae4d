"""What systems may export beside `types.System`: one protocol for each capability that asks for functions.

`System.CAPABILITIES` names them; `tests/systems/test_contract.py` checks that a system with the word has the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from portrayal.nn.rendering.fast import FastField
from portrayal.types import Depth, Driving, FaceParams, Layers, Source, System


class ExpressionSampler(System, Protocol):
    """What a system with the capability expression_sampling exports beside the rest: a distribution of expressions.

    Both give motions whose own tensors are ready for `render`; of `params` only the pose counts.
    """

    def sample_expressions(
        self, model: torch.nn.Module, source: Source, count: int, generator: torch.Generator
    ) -> Driving:
        """`count` expressions drawn at random, in the source's own pose."""

    def interpolate_expressions(
        self, model: torch.nn.Module, source: Source, driving: Driving, shares: Tensor
    ) -> Driving:
        """From the source's expression (share 0) to that of `driving` (1).

        Args:
            driving: t = 1, as `encode_driving` gives it. shares: (n,)

        Returns:
            n frames.
        """


class CanonicalFace(System, Protocol):
    """What a system with the capability canonical_face exports beside the rest."""

    def render_canonical(self, model: torch.nn.Module, source: Source) -> Tensor:
        """(1, 3, h, w) in [0, 1], size of the portrait: its face without rotation, translation and expression."""


class Tuner(System, Protocol):
    """What a system with the capability tuning exports beside the rest: optimisation for one portrait."""

    def tune_source(
        self, model: torch.nn.Module, source: Source, *, previous: Source | None, progress: Callable[..., None]
    ) -> Source:
        """The same source after an optimisation that may take minutes; kept on the disk, so that it is done once.

        Args:
            source: as `encode_source` gives it.
            previous: a tuned frame of the same video, whose optimisation is taken over.
            progress: called with (stage, done, total).
        """


class Directed(System, Protocol):
    """What a system with the capability directions exports beside the rest: learned directions, moved along singly."""

    def direction_names(self, model: torch.nn.Module) -> tuple[str, ...]: ...

    def move_along(self, model: torch.nn.Module, source: Source, name: str, amounts: Tensor) -> Driving:
        """The source moved along one direction by `amounts` (n,), from -1 to 1 over what was learned: n frames."""


class ExpressionCoder(System, Protocol):
    """What a system with the capability expression_codes exports beside the rest."""

    def expression_codes(self, model: torch.nn.Module, params: FaceParams) -> Tensor:
        """(t, d) what the system makes of each frame's expression coefficients."""


class Remarker(System, Protocol):
    """What a system with the capability remarks exports beside the rest."""

    def remarks(self, model: torch.nn.Module, driving: Driving) -> tuple[str, ...]:
        """Sentences about a motion that is on its source already: frames that the model cannot be trusted with."""


class Sculptor(System, Protocol):
    """What a system with the capability mesh exports beside the rest: heads that are densities in space."""

    def head_field(self, model: torch.nn.Module, source: Source) -> FastField:
        """The source's head with the expression that the portrait shows; its first three colours are RGB."""


class DepthRenderer(System, Protocol):
    """What a system with the capability depth exports beside the rest: it knows how far away is what it draws."""

    def render_depth(self, model: torch.nn.Module, source: Source, driving: Driving) -> Iterator[Depth]:
        """How near is what `render` draws with the same arguments: maps of the size of the portrait."""


class IdentityMixer(System, Protocol):
    """What a system with the capability identity_interpolation exports beside the rest: persons between two others."""

    def interpolate_identity(self, model: torch.nn.Module, source: Source, other: Source, share: float) -> Source:
        """The source as a person on the way from its own (share 0) to that of `other` (1); the photo stays its own.

        Args:
            source, other: encoded and tuned.
        """


class LayerRenderer(System, Protocol):
    """What a system with the capability layers exports beside the rest: it knows what of its picture is head."""

    def render_layers(self, model: torch.nn.Module, source: Source, driving: Driving) -> Iterator[Layers]:
        """Instead of `render`, with the same arguments: heads that can be put onto another background."""


class AvatarKeeper(System, Protocol):
    """What a system with the capability avatars exports beside the rest: files that hold a portrait encoded and tuned.

    They are named `source.AVATAR_SUFFIX`, fit the weights that they were made with, and need no photo.
    """

    def save_avatar(self, path: Path, model: torch.nn.Module, source: Source) -> None:
        """Write a source.

        Raises:
            InputError: another ending, or a place that cannot be written.
        """

    def load_avatar(self, path: Path, model: torch.nn.Module) -> Source:
        """What `save_avatar` wrote, its portrait included, on the model's device.

        Raises:
            MissingFileError: no such file.
            InputError: it is damaged, no avatar, of another system or made with other weights.
        """
