"""Lids that nearly touch are shut, and never thrown anywhere else."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from portrayal.face.topology import LEFT_EYE, LEFT_EYE_CORNERS, RIGHT_EYE, RIGHT_EYE_CORNERS
from portrayal.systems.meshwarp.eyes import lid_distance, shut_lids
from tests.systems.conftest import SIZE, mean_params

OPENNESS = st.floats(-0.08, 0.5)
"""Distance of the lids of a face, of the eye's width; they cross below 0, as trackers have it at times."""


def face(openness: float) -> np.ndarray:
    """(478, 3) the mean face with both eyes that far open."""
    points = mean_params(SIZE).landmarks[0].double().numpy().copy()
    for contour, corners in ((RIGHT_EYE, RIGHT_EYE_CORNERS), (LEFT_EYE, LEFT_EYE_CORNERS)):
        width = np.linalg.norm(points[corners[1], :2] - points[corners[0], :2])
        lower, upper = list(contour[1:8]), list(contour[:8:-1])
        wider = openness * width / lid_distance(points, contour)
        points[upper] = points[lower] + wider * (points[upper] - points[lower])
    return points


@settings(deadline=None)
@given(OPENNESS, OPENNESS)
@example(-0.0005, -0.001)
@example(0.0, -0.01)
@example(1e-9, 0.0)
def test_lids_come_nearer_or_stay_and_an_eye_that_opens_is_left_alone(before: float, now: float) -> None:
    source, driving = face(before), face(now)
    shut = shut_lids(source, driving)
    width = np.linalg.norm(driving[RIGHT_EYE_CORNERS[1]] - driving[RIGHT_EYE_CORNERS[0]])
    assert np.abs(shut - driving).max() <= max(abs(now), 0.16) * 2 * width
    assert min(0.0, now * width) - 1e-6 <= lid_distance(shut, RIGHT_EYE) <= max(0.0, now * width) + 1e-6
    if now >= min(0.16, 0.8 * before) and now >= 0:
        np.testing.assert_array_equal(shut, driving)


@settings(deadline=None)
@given(OPENNESS)
def test_lids_as_in_the_source_stay(openness: float) -> None:
    source = face(openness)
    np.testing.assert_array_equal(shut_lids(source, source.copy()), source)


@settings(deadline=None)
@given(st.floats(0.1, 0.4), st.floats(-0.05, 0.02))
def test_lids_that_nearly_touch_are_shut(before: float, now: float) -> None:
    assert abs(lid_distance(shut_lids(face(before), face(now)), RIGHT_EYE)) < 1e-6
