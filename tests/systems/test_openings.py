"""What lies behind lids and lips, in drawings that have something else there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from portrayal.face.topology import LEFT_EYE, LIPS_INNER, RIGHT_EYE
from portrayal.motion.edit import apply_edit
from portrayal.systems.meshwarp import mouth as meshwarp_mouth
from portrayal.systems.meshwarp.layers import Box, polygon_mask
from portrayal.systems.openings import Openings
from portrayal.types import Edit, FaceParams, Portrait


@pytest.fixture
def talking(portrait: Portrait) -> FaceParams:
    """Two frames: the mouth shut as it is, and opened."""
    return FaceParams.cat([portrait.params, apply_edit(portrait.params, Edit(mouth_open=1.0))])


def within(params: FaceParams, *contours: tuple[int, ...], size: int) -> Tensor:
    """(h, w): the share of each pixel inside contours of one face's landmarks."""
    polygons = [params.landmarks[0, list(contour), :2].double().numpy() for contour in contours]
    return torch.from_numpy(np.maximum.reduce([polygon_mask(p, Box(0, 0, size, size)) for p in polygons]))


def green(like: Tensor, frames: int) -> Tensor:
    """A network's drawing of nothing that a face has."""
    return torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1).expand(frames, -1, *like.shape[2:]).contiguous()


def greenness(picture: Tensor) -> Tensor:
    return picture[1] - picture[0].maximum(picture[2])


def test_an_opened_mouth_shows_its_inside_and_a_shut_one_stays(portrait: Portrait, talking: FaceParams) -> None:
    drawn = green(portrait.image, 2)
    shut, opened = Openings.of(portrait, open_eyes=False).fill(drawn, talking)
    torch.testing.assert_close(shut, drawn[0])
    mouth = within(talking[1:], LIPS_INNER, size=shut.shape[-1])
    assert int((mouth == 1).sum()) > 50
    assert float(greenness(opened)[mouth == 1].max()) < 0.1
    torch.testing.assert_close(opened[:, mouth == 0], drawn[1][:, mouth == 0])


def test_a_mouth_that_only_turns_stays_as_it_is_drawn(portrait: Portrait) -> None:
    """What networks make of the portrait's own teeth is right there, and turned as it should be."""
    speaking = Portrait(portrait.image, apply_edit(portrait.params, Edit(mouth_open=0.6)))
    openings = Openings.of(speaking, open_eyes=False)
    params = FaceParams.cat([apply_edit(speaking.params, edit) for edit in (Edit(yaw=0.5, roll=0.2), Edit(smile=0.8))])
    drawn = green(portrait.image, 2)
    turned, smiling = openings.fill(drawn, params)
    torch.testing.assert_close(turned, drawn[0])
    assert int((greenness(smiling) < 0.5).sum()) > 50


@pytest.mark.parametrize("yaw", [0.5, -0.5])
def test_teeth_lie_behind_the_lips(portrait: Portrait, yaw: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the head turns they go less far, by what is between their depth and that of the base of the nose."""
    params = apply_edit(portrait.params, Edit(yaw=yaw, mouth_open=0.7))
    mouth = within(params, LIPS_INNER, size=portrait.image.shape[-1]) == 1

    def middle_of_teeth() -> float:
        (found,) = Openings.of(portrait).fill(green(portrait.image, 1), params)
        teeth = mouth * (found.amin(0) > 0.45)
        assert int(teeth.sum()) > 20
        return float((teeth.nonzero()[:, 1] + 0.5).mean())

    behind = middle_of_teeth()
    monkeypatch.setattr(meshwarp_mouth, "TEETH_DEPTH", 0.0)
    nose_moves = params.landmarks[0, 1, 0] - params.translation[0, 0]  # what lies nearer moves farther
    lag = (middle_of_teeth() - behind) * float(nose_moves.sign()) / float(params.scale[0])
    assert 0.01 < lag < 0.13 * abs(np.sin(yaw)) + 0.02  # less where lips hide a part of the row


def test_eyeballs_are_the_portraits(portrait: Portrait) -> None:
    drawn, params = green(portrait.image, 1), portrait.params
    (found,) = Openings.of(portrait).fill(drawn, params)
    eyes = within(params, LEFT_EYE, RIGHT_EYE, size=found.shape[-1])
    torch.testing.assert_close(found[:, eyes == 1], portrait.image[0][:, eyes == 1], atol=0.02, rtol=0)
    torch.testing.assert_close(found[:, eyes == 0], drawn[0][:, eyes == 0])


def test_of_shut_eyes_alone_on_request(portrait: Portrait) -> None:
    """What a network makes of an open eye may be better, of a shut one it cannot be."""
    shut = apply_edit(portrait.params, Edit(blink=1.0))
    eyes = within(portrait.params, LEFT_EYE, RIGHT_EYE, size=portrait.image.shape[-1]) == 1
    drawn = green(portrait.image, 1)
    (seen,) = Openings.of(portrait, open_eyes=False).fill(drawn, portrait.params)
    torch.testing.assert_close(seen, drawn[0])
    (unseen,) = Openings.of(Portrait(portrait.image, shut), open_eyes=False).fill(drawn, portrait.params)
    assert float(greenness(unseen)[eyes].max()) < 0.1


def test_what_was_drawn_is_not_written_into(portrait: Portrait, talking: FaceParams) -> None:
    drawn = green(portrait.image, 2).contiguous(memory_format=torch.channels_last)
    Openings.of(portrait).fill(drawn, talking)
    torch.testing.assert_close(drawn, green(portrait.image, 2))
    assert Openings.of(portrait).fill(drawn.bfloat16(), talking).dtype == torch.float32
