"""VGG-Face: the checkpoint's names, its normalisation, and what is said when the file is not there."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from portrayal.errors import InputError, MissingFileError
from portrayal.nn.pretrained import load_vgg_face
from portrayal.nn.vgg_face import VGG_FACE_TAPS, vgg_face, vgg_face_weights

LAYERS = {1: (64, 64), 2: (128, 128), 3: (256, 256, 256), 4: (512, 512, 512), 5: (512, 512, 512)}


def checkpoint() -> dict[str, torch.Tensor]:
    """Random weights with the names and shapes of `vgg_face_dag.pth`, its convolutions and one layer of its head."""
    torch.manual_seed(0)
    weights, c_in = {}, 3
    for block, widths in LAYERS.items():
        for i, c in enumerate(widths, 1):
            weights[f"conv{block}_{i}.weight"] = torch.randn(c, c_in, 3, 3) * (2 / (9 * c_in)) ** 0.5
            weights[f"conv{block}_{i}.bias"] = torch.randn(c) * 0.01
            c_in = c
    return weights | {"fc8.weight": torch.zeros(2622, 8), "fc8.bias": torch.zeros(2622)}


def test_every_tap_is_the_named_layer_of_the_checkpoint() -> None:
    weights = checkpoint()
    net = vgg_face()
    net.load_state_dict(vgg_face_weights(weights))
    images = torch.rand(1, 3, 32, 32)
    x = images * 255 - torch.tensor([129.186279296875, 104.76238250732422, 93.59396362304688])[:, None, None]
    found, expected = net(images), {}
    for block, widths in LAYERS.items():
        for i in range(1, len(widths) + 1):
            x = F.conv2d(x, weights[f"conv{block}_{i}.weight"], weights[f"conv{block}_{i}.bias"], padding=1).relu()
            expected[f"relu{block}_{i}"] = x
        x = F.max_pool2d(x, 2)
    assert list(found) == list(VGG_FACE_TAPS)
    for name, feature in found.items():
        torch.testing.assert_close(feature, expected[name], rtol=1e-3, atol=1e-2)


def test_the_file_is_read_from_the_weights_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PORTRAYAL_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingFileError, match=r"vgg_face_dag\.pth is missing; download https://.* and put it there"):
        load_vgg_face()
    torch.save(checkpoint(), tmp_path / "vgg_face_dag.pth")
    net = load_vgg_face()
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    assert bool(np.isfinite(net(torch.rand(1, 3, 32, 32))["relu5_1"].numpy()).all())


def test_another_network_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PORTRAYAL_WEIGHTS", str(tmp_path))
    torch.save({"conv1_1.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "vgg_face_dag.pth")
    with pytest.raises(InputError, match=r"vgg_face_dag\.pth: the weights do not fit VggFace"):
        load_vgg_face()
