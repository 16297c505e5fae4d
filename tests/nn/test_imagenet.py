"""VGG, AlexNet and SqueezeNet feature stacks."""

import pytest
import torch

from portrayal.nn.imagenet import backbone_weights, vgg16, vgg19
from tests.parity import parity_fixture


@pytest.mark.parametrize(("name", "build"), [("vgg16_features", vgg16), ("vgg19_perceptual", vgg19)])
def test_parity_with_torchvision(name, build):
    fixture = parity_fixture(name)
    with torch.device("meta"):
        net = build()
    net = fixture.load(net)
    assert net.taps == fixture.configuration["layers"]
    a, b = net(fixture.inputs["image_a"]), net(fixture.inputs["image_b"])
    for tap, features in a.items():
        fixture.check(tap, features)
    fixture.check("mean_abs_difference", torch.stack([(a[tap] - b[tap]).abs().mean() for tap in a]))


def test_weights_of_a_whole_classifier_are_cut_to_the_stack():
    net = vgg16({"relu1_1": 1})
    own = net.state_dict()
    checkpoint = {**own, "features.28.weight": torch.zeros(1), "classifier.0.weight": torch.zeros(1)}
    assert set(backbone_weights(net, checkpoint)) == {"features.0.weight", "features.0.bias"}
