"""Drawings bent to a motion: the field of displacements, and a real face that is read where it should be."""

from __future__ import annotations

import pytest
import torch

from portrayal.face.box import box_of_landmarks
from portrayal.face.embedded_tracker import load_embedded_tracker
from portrayal.face.measure import mouth_openness
from portrayal.face.tracker import load_tracker
from portrayal.motion.edit import apply_edit
from portrayal.source import open_source, portrait_of
from portrayal.systems import meshwarp
from portrayal.systems.drawn_shape import FURTHEST, bend, displacement
from portrayal.systems.meshwarp.config import Config
from portrayal.types import Driving, Edit, FaceParams, Portrait


def at(field: torch.Tensor, x: float, y: float) -> list[float]:
    return field[0, :, int(y), int(x)].tolist()


def test_all_points_alike_move_what_is_between_them() -> None:
    points = torch.rand(1, 200, 2) * 60 + 50
    apart = torch.tensor([0.1, -0.05]).expand(1, 200, 2)
    field = displacement(apart, points, torch.tensor([40.0]), torch.Size((160, 160)))
    assert at(field, 80, 80) == pytest.approx([4.0, -2.0], rel=0.02)
    far = displacement(apart, points, torch.tensor([4.0]), torch.Size((160, 160)))
    assert at(far, 8, 8) == pytest.approx([0.0, 0.0], abs=1e-3), "ten head units away"


def test_neighbours_may_move_against_each_other() -> None:
    """Lips that open: between them it changes from one to the other, beside them nothing moves."""
    x = torch.linspace(60, 100, 30)
    points = torch.stack([torch.cat([x, x]), torch.cat([torch.full((30,), 74.0), torch.full((30,), 86.0)])], -1)[None]
    apart = torch.zeros(1, 60, 2)
    apart[0, :30, 1], apart[0, 30:, 1] = 0.05, -0.05
    field = displacement(apart, points, torch.tensor([80.0]), torch.Size((160, 160)))
    assert at(field, 80, 74) == pytest.approx([0, 4.0], abs=1.2)
    assert at(field, 80, 86) == pytest.approx([0, -4.0], abs=1.2)
    assert at(field, 80, 78)[1] == pytest.approx(-at(field, 80, 81)[1], abs=0.1)
    assert abs(at(field, 80, 150)[1]) < 1.5


def test_nothing_moves_where_nothing_is_apart() -> None:
    field = displacement(torch.zeros(2, 50, 2), torch.rand(2, 50, 2) * 64, torch.ones(2) * 20, torch.Size((64, 48)))
    assert field.shape == (2, 2, 64, 48)
    assert displacement(torch.zeros(1, 9, 2), torch.rand(1, 9, 2), torch.ones(1), torch.Size((512, 600))).shape[2:] == (
        128,
        150,
    )
    assert float(field.abs().max()) == 0


@pytest.fixture(scope="module")
def photo() -> Portrait:
    """The built-in portrait."""
    return portrait_of(open_source(None, tracker=load_tracker("cpu"), face="largest", size=256, crop=True))


def read(image: torch.Tensor, params: FaceParams) -> torch.Tensor:
    """(1, 478, 3) landmarks as the tracker sees them."""
    boxes = torch.tensor(box_of_landmarks(params.landmarks[0].numpy()))[None].numpy()
    return load_embedded_tracker(torch.device("cpu")).estimate(image, boxes)[0]


@torch.no_grad()
@pytest.mark.parametrize("edit", [Edit(mouth_open=0.5), Edit(shift=(0.06, 0.03)), Edit(smile=0.6)])
def test_a_face_goes_where_it_should_be(photo: Portrait, edit: Edit) -> None:
    """The photo itself is the drawing, and should show an edit."""
    wanted = apply_edit(photo.params, edit)
    still = read(photo.image, photo.params)
    bias = still - photo.params.landmarks
    target = wanted.landmarks + bias
    asked = wanted.replace(landmarks=target)
    bent = bend(photo.image, asked)
    before, after = ((read(x, wanted) - target)[..., :2].norm(dim=-1).mean() for x in (photo.image, bent))
    assert float(after) < 0.6 * float(before)
    if edit.mouth_open:
        opened, wide, shut = (mouth_openness(x) for x in (read(bent, wanted), target, still))
        assert float((opened - shut) / (wide - shut)) > 0.3


@torch.no_grad()
def test_a_face_that_is_right_stays(photo: Portrait) -> None:
    right = photo.params.replace(landmarks=read(photo.image, photo.params))
    assert float((bend(photo.image, right) - photo.image).abs().mean()) < 2e-3
    assert bend(photo.image, apply_edit(photo.params, Edit(yaw=0.3)), strength=0) is photo.image


@torch.no_grad()
def test_a_face_that_is_far_off_moves_a_little(photo: Portrait) -> None:
    """A misread face does not tear the picture: where every pixel came from, read off a ramp."""
    x = torch.arange(256.0) / 256
    ramp = torch.stack([x.expand(256, 256), x.expand(256, 256).mT, torch.zeros(256, 256)])[None]
    away = apply_edit(photo.params, Edit(shift=(1.0, 0.5)))
    moved = 256 * (bend(ramp, away) - ramp)[:, :2].norm(dim=1)
    assert float(moved.max()) < 1.5 * FURTHEST * float(photo.params.scale)


@torch.no_grad()
def test_every_frame_by_itself(photo: Portrait) -> None:
    params = FaceParams.cat([photo.params, apply_edit(photo.params, Edit(yaw=0.1, mouth_open=0.4))])
    model = meshwarp.build(Config())
    motion = Driving(params[[1, 0]], (0, 1))  # type: ignore[arg-type]
    drawn = torch.cat(list(meshwarp.render(model, meshwarp.encode_source(model, photo), motion)))
    together = bend(drawn, params)
    for i in range(2):
        torch.testing.assert_close(bend(drawn[i : i + 1], params[[i]]), together[i : i + 1], atol=1e-4, rtol=0)
