"""VGG-Face (Parkhi et al. 2015, "Deep Face Recognition"): VGG16 that was trained to tell 2622 people apart."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from portrayal.nn.imagenet import VGG16_PLAN, normalise, tap, vgg_layers

VGG_FACE_URL = "https://www.robots.ox.ac.uk/~albanie/models/pytorch-mcn/vgg_face_dag.pth"
VGG_FACE_FILE = "vgg_face_dag.pth"
VGG_FACE_TAPS = {"relu1_1": 1, "relu2_1": 6, "relu3_1": 11, "relu4_1": 18, "relu5_1": 25}
MEAN = (129.186279296875 / 255, 104.76238250732422 / 255, 93.59396362304688 / 255)
STD = (1 / 255, 1 / 255, 1 / 255)
"""Of its training pictures, RGB in [0, 1]: it reads levels of 0 to 255 less their mean."""


class VggFace(nn.Module):
    """VGG-Face up to the last tap; forward gives the feature map after each tap."""

    def __init__(self, taps: Mapping[str, int]) -> None:
        super().__init__()
        self.taps = dict(taps)
        self.features = nn.Sequential(*vgg_layers(VGG16_PLAN)[: max(taps.values()) + 1])

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """
        Args:
            images: (b, 3, h, w) RGB in [0, 1]; normalised here, not resized (it was trained on 224 x 224).

        Returns:
            name of the tap -> (b, c, h', w').
        """
        maps = tap(self.features, normalise(images, MEAN, STD), self.taps.values())
        return dict(zip(self.taps, maps, strict=True))


def vgg_face(taps: Mapping[str, int] = VGG_FACE_TAPS) -> VggFace:
    return VggFace(taps)


def vgg_face_weights(checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of `vgg_face_dag.pth` (conv1_1.weight ...) that the feature stack has, under its names."""
    wanted, renamed = vgg_face().state_dict(), {}
    block, layer = 1, 1
    for index, width in enumerate(VGG16_PLAN):
        if width == 0:
            block, layer = block + 1, 1
            continue
        place = index + index - (block - 1)  # a convolution and its ReLU are two entries, a pooling is one
        for kind in ("weight", "bias"):
            name, entry = f"features.{place}.{kind}", f"conv{block}_{layer}.{kind}"
            if name in wanted and entry in checkpoint:
                renamed[name] = checkpoint[entry]
        layer += 1
    return renamed
