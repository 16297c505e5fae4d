"""Small clips made by the tests: smooth noise as pictures, faces from the linear face model."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.evaluate.view import View
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.pose import angles_to_rotation
from portrayal.types import FaceParams


def pictures(count: int, *, seed: int = 0, height: int = 48, width: int = 64) -> Tensor:
    """(count, 3, h, w) in [0, 1], smooth."""
    noise = torch.rand(count, 3, 6, 8, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, (height, width), mode="bicubic", antialias=True).clamp(0, 1)


def faces(count: int, *, seed: int = 0, side: int = 256) -> FaceParams:
    """Faces of random expression and pose about the middle of a square picture."""
    generator = torch.Generator().manual_seed(seed)
    model = load_face_model()
    expression = torch.randn(count, 64, generator=generator) * 0.3
    shape = model.mean + torch.einsum("tk,knd->tnd", expression, model.expression_basis)
    angles = torch.randn(count, 3, generator=generator) * 0.2
    scale = side * (0.3 + 0.02 * torch.rand(count, generator=generator))
    landmarks = scale[:, None, None] * shape @ angles_to_rotation(angles).mT
    shift = torch.tensor([side / 2, side / 2, 0]) + torch.randn(count, 1, 3, generator=generator) * 3
    return fit_params(
        model, landmarks + shift, width=side, height=side, confidence=torch.ones(count), eye_openness=None
    )


def view(count: int = 3, *, seed: int = 0, clip: str = "a") -> View:
    """A clip with pictures and faces that have nothing to do with each other."""
    times = tuple(i / 25 for i in range(count))
    images = pictures(count, seed=seed, height=256, width=256)
    return View(images, clip=clip, params=faces(count, seed=seed), times=times)
