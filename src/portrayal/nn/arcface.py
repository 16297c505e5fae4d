"""IR-SE50, the identity network trained with ArcFace (Deng et al. 2019, arXiv 1801.07698).

Names are those of the public file `model_ir_se50.pth`, which pSp, e4e and the directions paper use as well.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SIDE = 112
EMBEDDING = 512
STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))
"""(channels, units); the first unit of each halves the map."""
CROP_ROWS = (35, 223)
CROP_COLUMNS = (32, 220)
"""The face in a 256 x 256 picture that is framed as in FFHQ; fixed, without landmarks."""
ALIGNED_POINTS = (
    (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041),
)  # fmt: skip
"""Right eye (in the picture's left half), left eye, nose tip, right and left mouth corner in the input, x y."""


class IrSe50(nn.Module):
    """Aligned faces to unit vectors; the cosine of two says how alike the persons are."""

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        units, c_in = [], 64
        for c, count in STAGES:
            units += [Unit(c_in, c, stride=2)] + [Unit(c, c, stride=1) for _ in range(count - 1)]
            c_in = c
        self.body = nn.Sequential(*units)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(0.6),
            nn.Flatten(),
            nn.Linear(512 * 7 * 7, EMBEDDING),
            nn.BatchNorm1d(EMBEDDING),
        )

    def forward(self, faces: Tensor) -> Tensor:
        """
        Args:
            faces: (b, 3, 112, 112) RGB in [0, 1], eyes, nose and mouth at `ALIGNED_POINTS` or framed by `face_of_256`.

        Returns:
            (b, 512) of length 1.
        """
        x = self.output_layer(self.body(self.input_layer(2 * faces - 1)))
        return x / x.norm(dim=1, keepdim=True)


class Unit(nn.Module):
    """Improved residual unit with squeeze and excitation."""

    def __init__(self, c_in: int, c_out: int, *, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = (
            nn.MaxPool2d(1, stride)
            if c_in == c_out
            else nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(c_in),
            nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
            nn.PReLU(c_out),
            nn.Conv2d(c_out, c_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(c_out),
            SqueezeExcite(c_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class SqueezeExcite(nn.Module):
    """Weigh the channels by what their means say (Hu et al. 2018)."""

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // ratio, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // ratio, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu())
        return x * weight.sigmoid()


def face_of_256(images: Tensor) -> Tensor:
    """The fixed crop of pSp, e4e and the directions paper: (b, 3, 256, 256) to (b, 3, 112, 112) by area means.

    Raises:
        ValueError: another size; the crop would miss the face.
    """
    if images.shape[2:] != (256, 256):
        raise ValueError(f"the fixed identity crop needs (b, 3, 256, 256), got {tuple(images.shape)}; resize first")
    face = images[:, :, slice(*CROP_ROWS), slice(*CROP_COLUMNS)]
    return F.adaptive_avg_pool2d(face, INPUT_SIDE)


def identity_distance(a: Tensor, b: Tensor) -> Tensor:
    """(b,) 1 - cosine of two batches of embeddings (b, c)."""
    return 1 - torch.cosine_similarity(a, b, dim=1, eps=1e-6)
