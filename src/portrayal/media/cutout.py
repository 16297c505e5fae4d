"""A head cut out of its picture: how much of each pixel at its outline is hair, and which colour that has.

What a matte of some pixels' width calls head, a little generously, is hair mixed with what is behind. Laid over another
place, that would be seen as a halo. Here the two are told apart by their colours, as in Y. Chuang et al.: "A Bayesian
Approach to Digital Matting", CVPR 2001, in its simplest form: one colour of the head and one of what is behind at each
place, both gone on smoothly from where they are known.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portrayal.media.fill import membrane
from portrayal.media.matte import Matte
from portrayal.types import Portrait

Array = NDArray[np.float32]

INSIDE = 3
"""Pixels of a matte, from its border inwards, from where on everything is head."""
ALIKE = 0.12
"""Difference of colours, (r, g, b) in [0, 1], up to which head and background are hardly told apart by it."""
FAINT = 0.25
"""Share of a pixel up to which its colour tells less and less of the head's."""


def cut_out(portrait: Portrait, matte: Matte) -> tuple[Tensor, Tensor]:
    """The head and person of a portrait (b = 1) before nothing.

    Returns:
        (1, 3, h, w) their colours, at the outline without those of what is behind, elsewhere the portrait;
        (1, 1, h, w) in [0, 1] how much of each pixel they are. Where nothing is surely head or surely behind, these are
        the portrait and its matte.
    """
    device = portrait.image.device
    seen: Array = np.ascontiguousarray(portrait.image[0].movedim(0, -1).cpu().numpy())
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * INSIDE + 1, 2 * INSIDE + 1))
    inside = _larger(cv2.erode(matte.person.astype(np.float32), kernel, borderValue=1), seen) > 0.5
    generous, soft = (_larger(x[0, 0].cpu().numpy(), seen) for x in (matte.grown, matte.soft))
    hidden = generous > 0.02
    if not inside.any() or hidden.all():
        return portrait.image, torch.from_numpy(soft)[None, None].to(device)
    head, behind = membrane(seen, ~inside), membrane(seen, hidden)
    apart = head - behind
    length = (apart * apart).sum(-1)
    share = ((seen - behind) * apart).sum(-1) / np.maximum(length, 1e-6)
    told = length / (length + ALIKE**2)
    share = (soft + told * (share.clip(0, 1) - soft)) * generous
    share = np.where(inside, np.float32(1), share)
    sure = np.minimum(share / FAINT, 1)[..., None]
    colour = ((seen - (1 - share[..., None]) * behind) / np.maximum(share, FAINT)[..., None]).clip(0, 1)
    colour = head + sure * (colour - head)
    ring = hidden & ~inside
    colour = np.where(ring[..., None], colour, seen).astype(np.float32)
    return (
        torch.from_numpy(colour).movedim(-1, 0)[None].to(device),
        torch.from_numpy(share.astype(np.float32))[None, None].to(device),
    )


def _larger(mask: Array, picture: Array) -> Array:
    return np.asarray(cv2.resize(mask, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR))
