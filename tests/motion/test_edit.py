"""Edits with numbers, and the actions of the face behind them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from portrayal.errors import InputError
from portrayal.face.measure import eye_openness, mouth_openness
from portrayal.face.pose import rotation_to_angles
from portrayal.face.topology import MIRROR
from portrayal.motion.builtin import builtin_motion
from portrayal.motion.compose import head_shape
from portrayal.motion.edit import apply_edit
from portrayal.motion.openings import EYE_PAIRS, gaps
from portrayal.motion.regions import eye_mask
from portrayal.motion.semantic import ACTIONS, fields
from portrayal.types import Edit

quick = settings(max_examples=20, deadline=None)
amount = st.floats(-0.5, 1.2)


def test_no_edit_changes_nothing(actor):
    face = actor(3, t=4)
    result = apply_edit(face, Edit())
    assert_close(result.landmarks, face.landmarks, atol=1e-3, rtol=0)
    assert_close(result.expression, face.expression, atol=1e-3, rtol=0)
    assert_close(result.camera, face.camera, atol=1e-4, rtol=0)


@quick
@given(angles=st.tuples(*[st.floats(-0.5, 0.5)] * 3))
def test_angles_are_added(person, angles):
    face = person(3, angles=torch.tensor([[0.1, -0.1, 0.2]]))
    result = apply_edit(face, Edit(yaw=angles[0], pitch=angles[1], roll=angles[2]))
    change = rotation_to_angles(result.rotation) - rotation_to_angles(face.rotation)
    assert_close(change[0], torch.tensor(angles), atol=1e-5, rtol=0)
    assert_close(head_shape(result), head_shape(face), atol=1e-4, rtol=0)


def test_zoom_and_shift(person):
    face = person(3)
    result = apply_edit(face, Edit(zoom=1.5, shift=(0.5, -0.25)))
    assert_close(result.scale, 1.5 * face.scale)
    moved = (result.translation - face.translation)[0, :2] / face.scale
    assert_close(moved, torch.tensor([0.5, -0.25]), atol=1e-4, rtol=0)


@quick
@given(smile=amount, mouth_open=amount, blink=st.floats(-0.3, 1.3), brow=st.floats(-1, 1), gaze_y=st.floats(-0.4, 0.4))
def test_lips_and_lids_never_cross(person, smile, mouth_open, blink, brow, gaze_y):
    face = person(3, jaw=torch.tensor([0.1]))
    result = apply_edit(face, Edit(smile=smile, mouth_open=mouth_open, blink=blink, brow=brow, gaze_y=gaze_y))
    assert gaps(head_shape(result))[..., 1].min() > -1e-4
    assert_close(eye_openness(result.landmarks), result.eye_openness, atol=0.02, rtol=0)


def test_a_full_blink_shuts_the_eyes_only(person):
    face = person(3)
    result = apply_edit(face, Edit(blink=1))
    assert gaps(head_shape(result))[:, :EYE_PAIRS].abs().max() < 1e-4
    assert result.eye_openness.max() == 0
    assert_close(result.landmarks[:, eye_mask() == 0], face.landmarks[:, eye_mask() == 0], atol=1e-3, rtol=0)


def test_mouth_opens_and_smiles(person):
    face = person(3)
    assert mouth_openness(apply_edit(face, Edit(mouth_open=1)).landmarks)[0] > 0.25

    def corners(edit: Edit) -> torch.Tensor:
        return head_shape(apply_edit(face, edit))[0, [61, 291]]

    rest = corners(Edit())
    assert (corners(Edit(smile=1))[:, 1] < rest[:, 1] - 0.03).all()
    assert (corners(Edit(smile=-1))[:, 1] > rest[:, 1] + 0.03).all()


def test_brows(person):
    face = person(3)
    rest, raised, frown = (head_shape(apply_edit(face, Edit(brow=x)))[0, [105, 334, 107, 336]] for x in (0, 1, -1))
    assert (raised[:, 1] < rest[:, 1] - 0.05).all()
    assert (frown[2:, 1] > rest[2:, 1] + 0.015).all()
    assert (frown[3] - frown[2])[0] < (rest[3] - rest[2])[0]


def test_gaze_to_the_pictures_right(person):
    face = person(3)
    result = apply_edit(face, Edit(gaze_x=0.3))
    assert (result.landmarks[0, [468, 473], 0] > face.landmarks[0, [468, 473], 0] + 2).all()
    assert_close(result.gaze[..., 0], face.gaze[..., 0] - 0.3)
    lowered = apply_edit(face, Edit(gaze_y=0.3))
    assert (lowered.eye_openness < face.eye_openness).all()  # lids follow


@pytest.mark.parametrize("edit", [Edit(zoom=0), Edit(zoom=-1), Edit(yaw=float("nan")), Edit(shift=(0, float("inf")))])
def test_impossible_numbers_are_refused(person, edit):
    with pytest.raises(InputError):
        apply_edit(person(3), edit)


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_actions_are_symmetric_and_keep_still_what_they_should(name):
    field = fields()[name]
    assert_close(field, field[list(MIRROR)] * torch.tensor([-1.0, 1.0, 1.0]), atol=1e-6, rtol=0)
    assert 0.02 < field.norm(dim=-1).max() < 0.5
    far = [33, 133, 159, 10] if not name.startswith("brow") else [61, 291, 13, 14, 152]
    assert field[far].norm(dim=-1).max() < 0.04


def test_numbers_of_numpy_do_as_well():
    """A sweep made with numpy.linspace gives float64 angles."""
    params = builtin_motion("talk").params[0]
    plain, numpy = (apply_edit(params, Edit(yaw=n(0.2), mouth_open=n(0.5), gaze_x=n(0.1))) for n in (float, np.float64))
    assert torch.equal(plain.landmarks, numpy.landmarks)
