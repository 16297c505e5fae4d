"""Openness of eyes and mouth."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portrayal.face.measure import eye_openness, inter_ocular, mouth_openness, mouth_width
from portrayal.face.pose import angles_to_rotation
from portrayal.face.topology import INNER_LIPS_PAIRS, LEFT_EYELIDS, RIGHT_EYELIDS


def test_values_by_hand(model):
    face = model.mean.clone()
    for upper, lower in INNER_LIPS_PAIRS:
        face[lower] = face[upper] + torch.tensor([0, 0.3, 0])
    for upper, lower in RIGHT_EYELIDS:
        face[lower] = face[upper]
    assert mouth_openness(face).item() == pytest.approx(0.3, abs=1e-4)
    right, left = eye_openness(face).tolist()
    assert right == pytest.approx(0, abs=1e-4)
    assert left == pytest.approx(eye_openness(model.mean)[1].item())
    assert 0.2 < left < 0.4
    assert inter_ocular(face).item() == pytest.approx(1, abs=1e-4)
    assert 0.4 < mouth_width(face).item() < 0.7


@settings(max_examples=20, deadline=None)
@given(yaw=st.floats(-1, 1), pitch=st.floats(-1, 1), roll=st.floats(-3, 3), zoom=st.floats(0.1, 500))
def test_pose_does_not_matter(model, yaw, pitch, roll, zoom):
    turned = zoom * model.mean @ angles_to_rotation(torch.tensor([yaw, pitch, roll])).T
    for measure in (eye_openness, mouth_openness, mouth_width):
        torch.testing.assert_close(measure(turned), measure(model.mean), atol=1e-4, rtol=1e-3)


def test_gradients_are_finite_where_the_lids_meet(model):
    face = model.mean.clone()
    for upper, lower in RIGHT_EYELIDS + LEFT_EYELIDS:
        face[lower] = face[upper]
    face.requires_grad_()
    (eye_openness(face).sum() + mouth_openness(face)).backward()
    assert face.grad.isfinite().all()
