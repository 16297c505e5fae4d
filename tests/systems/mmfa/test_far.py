"""Heads that go far from where the portrait has them."""

from __future__ import annotations

import torch

from portrayal.systems.mmfa.far import NEAR, FarHead
from portrayal.systems.portrait_mesh import PortraitMesh
from portrayal.types import FaceParams, Portrait

SIZE = 256


def at(portrait: Portrait, *places: tuple[float, float]) -> FaceParams:
    """The portrait's face that many pixels away, a frame for each."""
    by = torch.nn.functional.pad(torch.tensor(places), (0, 1))
    own = portrait.params[[0] * len(places)]
    return own.replace(landmarks=own.landmarks + by[:, None], translation=own.translation + by)


def test_what_the_network_draws_and_what_is_carried_add_up(portrait: Portrait) -> None:
    params = at(portrait, (0, 0), (0.9 * NEAR * SIZE, 0), (30, -40), (0, 60))
    near, by = FarHead(PortraitMesh(portrait)).split(params)
    away = near.translation - portrait.params.translation
    assert float(away.norm(dim=1).max()) <= NEAR * SIZE + 1e-3
    torch.testing.assert_close(by[:2], torch.zeros(2, 2))
    torch.testing.assert_close(near.translation[:, :2] + by, params.translation[:, :2])
    torch.testing.assert_close(near.landmarks[..., :2] + by[:, None], params.landmarks[..., :2])
    turned = torch.nn.functional.cosine_similarity(by[2:], torch.tensor([[30.0, -40], [0, 60]]))
    torch.testing.assert_close(turned, torch.ones(2))


def test_near_faces_stay_as_they_are_drawn(portrait: Portrait) -> None:
    drawn = torch.rand(2, 3, SIZE, SIZE)
    assert FarHead(PortraitMesh(portrait)).carry(drawn, at(portrait, (0, 0), (3, 0)), torch.zeros(2, 2)) is drawn


def test_a_head_is_carried_with_its_neck_and_the_border_of_the_picture_stays(portrait: Portrait) -> None:
    drawn = portrait.image.expand(2, -1, -1, -1)
    mesh, by = PortraitMesh(portrait), torch.tensor([[0.0, 0.0], [12.0, -24.0]])
    far = FarHead(mesh)
    carried = far.carry(drawn, at(portrait, (0, 0), (0, 0)), by)
    torch.testing.assert_close(carried[0], drawn[0])
    back = far.carry(carried[1:], at(portrait, (12, -24)), torch.tensor([[-12.0, 24.0]]))
    assert float((back - drawn[:1])[..., 30:-30, 30:-30].abs().mean()) < 0.02, "from where the head is now"
    x, y = portrait.params.landmarks[0, :, 0], portrait.params.landmarks[0, :, 1]
    face = (..., slice(int(y.min()) + 8, int(y.max()) - 8), slice(int(x.min()) + 8, int(x.max()) - 8))
    moved = (..., *(slice(s.start + by, s.stop + by) for s, by in zip(face[1:], (-24, 12), strict=True)))
    assert float((carried[1][moved] - drawn[0][face]).abs().mean()) < 0.01
    carried = mesh.lay_over(carried, at(portrait, (0, 0), (12, -24)), within=(0.0, 0.1))
    for edge in ((..., 0, slice(None)), (..., -1, slice(None)), (..., slice(None), 0), (..., slice(None), -1)):
        assert float((carried[1][edge] - drawn[1][edge]).abs().mean()) < 0.02
