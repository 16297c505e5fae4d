"""Identity networks: ArcFace IR-SE50 and MobileFaceNet."""

import pytest
import torch
from torch.nn import functional as F

from portrayal.nn.arcface import IrSe50, face_of_256, identity_distance
from portrayal.nn.mobilefacenet import MobileFaceNet
from tests.parity import parity_fixture


def test_parity_of_ir_se50():
    fixture = parity_fixture("arcface_irse50")
    with torch.device("meta"):
        net = IrSe50()
    net = fixture.load(net)
    unit = {name: (image + 1) / 2 for name, image in fixture.inputs.items()}  # from [-1, 1]
    fixture.check("embedding_112", net(unit["image112"]))
    a, b = net(face_of_256(unit["image256_a"])), net(face_of_256(unit["image256_b"]))
    fixture.check("embedding_256_crop", a)
    fixture.check("identity_loss", identity_distance(a, b).mean()[None])
    fixture.check("embedding_256_no_crop", net(F.adaptive_avg_pool2d(unit["image256_a"], 112)))


def test_parity_of_mobilefacenet_with_its_real_weights():
    fixture = parity_fixture("mobilefacenet")
    net = fixture.load(MobileFaceNet())
    embedding = net.embed(fixture.inputs["image"])
    fixture.check("embedding", embedding)
    fixture.check("cosine_0_1", torch.cosine_similarity(embedding[:1], embedding[1:]))


def test_the_fixed_crop_wants_pictures_of_256():
    with pytest.raises(ValueError, match="resize first"):
        face_of_256(torch.zeros(1, 3, 128, 128))
