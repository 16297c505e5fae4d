"""Boxes, crops, cuts, frame rates and the rules for good clips, on numbers made by hand."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portrayal.data.cuts import CutFinder
from portrayal.data.prepare_options import ClipRules
from portrayal.data.prepare_quality import (
    Moment,
    corners_of,
    corners_of_crop,
    crop_of,
    fault,
    overlap,
    sharpness,
    union,
)
from portrayal.data.prepare_video import at_rate
from portrayal.face.tracker import FaceReading
from portrayal.types import Frame
from tests.data.made_faces import draw_face

NONE = np.zeros((0, 4))
boxes = st.tuples(*[st.floats(0, 100)] * 2, *[st.floats(1, 100)] * 2).map(
    lambda b: np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]])
)


def moment(x=320.0, scale=110.0, *, confidence=0.99, sharp=100.0, others=NONE):
    """A frontal face of about 1.6 x 2 x `scale` pixels."""
    points = torch.from_numpy(draw_face(64, (x, 240.0), scale, 0.0)[1])[None]
    return Moment(FaceReading(points, torch.full((1, 2), 0.3), torch.tensor([confidence])), others, sharp)


def reason(moments, rules=None, *, yaw=0.0, width=640, height=480):
    rules = rules or ClipRules(min_frames=2, min_side=100, max_outside=0.2)
    crop = crop_of(union([corners_of(m.reading) for m in moments]), 64, rules)
    return fault(moments, crop, rules, width=width, height=height, yaw=np.full(len(moments), yaw))


@settings(deadline=None)
@given(boxes, boxes)
def test_overlap_against_counted_cells(a, b):
    a, b = a.round(), b.round()
    y, x = np.mgrid[0:201, 0:201] + 0.5
    inside = [(x > c[0]) & (x < c[2]) & (y > c[1]) & (y < c[3]) for c in (a, b)]
    either = np.logical_or(*inside).sum()
    assert overlap(a, b) == pytest.approx(np.logical_and(*inside).sum() / max(either, 1))


@settings(deadline=None)
@given(st.lists(boxes, min_size=1, max_size=5), st.floats(0, 0.5))
def test_the_crop_is_the_square_around_all_boxes(parts, enlarge):
    whole = union(parts)
    square = corners_of_crop(crop_of(whole, 256, ClipRules(enlarge=enlarge)))
    side = (1 + 2 * enlarge) * (whole[2:] - whole[:2]).max()
    assert square[2:] - square[:2] == pytest.approx([side, side])
    assert (square[:2] + square[2:]) / 2 == pytest.approx((whole[:2] + whole[2:]) / 2)
    for box in parts:
        assert (square[:2] <= box[:2] + 1e-6).all()
        assert (square[2:] >= box[2:] - 1e-6).all()


def test_a_crop_can_be_moved_up():
    box = np.array([100.0, 100, 200, 220])
    plain, moved = (corners_of_crop(crop_of(box, 64, ClipRules(shift_up=s))) for s in (0.0, 0.25))
    assert plain - moved == pytest.approx([0, 36, 0, 36])


def test_every_rule_finds_its_fault():
    good = [moment()] * 8
    assert reason(good) is None
    assert reason(good[:1]) == "too short"
    assert reason([moment(scale=40.0)] * 8) == "too small"
    assert reason([moment(x=60.0)] * 8) == "leaves the picture"
    assert reason([moment(confidence=0.5)] * 2 + [moment()] * 6) == "unsure tracking"
    assert reason([moment(sharp=3.0)] * 8) == "blurred"
    beside = np.array([[350.0, 100, 450, 200]])
    assert reason([*good, moment(others=beside)]) == "several faces"
    assert reason([*good, moment(others=beside + np.array([200, 0, 200, 0]))]) is None  # outside of the crop
    kept = ClipRules(min_frames=2, min_side=100, max_outside=0.2, several_faces=True)
    assert reason([*good, moment(others=beside)], kept) is None
    assert reason(good, ClipRules(min_frames=2, min_side=100, max_yaw=30.0), yaw=0.6) == "turned too far"
    assert reason(good, ClipRules(min_frames=2, min_side=100), yaw=0.6) is None


def test_sharpness_falls_with_blur_and_not_with_size():
    import cv2

    rng = np.random.default_rng(0)
    fine = cv2.resize(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8), (128, 128), interpolation=cv2.INTER_NEAREST)
    box = np.array([0.0, 0, 128, 128])
    values = [sharpness(cv2.GaussianBlur(fine, (0, 0), s) if s else fine, box) for s in (0, 1, 3)]
    assert values[0] > 3 * values[1] > 9 * values[2]
    large = cv2.resize(fine, (512, 512), interpolation=cv2.INTER_NEAREST)
    assert sharpness(large, box * 4) == pytest.approx(values[0], rel=0.05)
    assert sharpness(fine, np.array([-30.0, -30, 60, 60])) > 0  # cut at the picture's border


def test_cuts_are_found_and_motion_is_none(portrait):
    first, second = portrait[:256, 100:356], portrait[256:, :256]
    finder = CutFinder()
    moving = [np.roll(first, 6 * i, 1) for i in range(12)]
    assert [finder.step(p) for p in [*moving, second, second, first]] == [False] * 12 + [True, False, True]
    assert not CutFinder().step(first)
    finder = CutFinder()
    flat = [np.full((32, 32, 3), v, np.uint8) for v in (10, 10, 250, 250)]
    assert [finder.step(p) for p in flat] == [False, False, True, False]


@settings(deadline=None)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=30), st.integers(0, 9))
def test_frames_are_those_on_show(gaps, begin):
    """Against a search through all frames for each tick."""
    starts = np.cumsum([begin, *gaps])
    end = Fraction(int(starts[-1]) + 4, 100)
    times = [Fraction(int(t), 100) for t in starts]
    frames = [Frame(np.full((1, 1, 3), i, np.uint8), t, Fraction(4, 100)) for i, t in enumerate(times)]
    shown = [(int(f.image[0, 0, 0]), f.time) for f in at_rate(iter(frames), 25)]
    ticks = [Fraction(k, 25) for k in range(1000) if times[0] + Fraction(k, 25) < end]
    expected = [(max(i for i, t in enumerate(times) if t <= times[0] + tick), tick) for tick in ticks]
    assert shown == expected


def test_25_frames_per_second_stay_as_they_are():
    frames = [Frame(np.full((1, 1, 3), i, np.uint8), Fraction(i, 25), Fraction(1, 25)) for i in range(9)]
    assert [f.image[0, 0, 0] for f in at_rate(iter(frames), 25)] == list(range(9))
    assert list(at_rate(iter([]), 25)) == []
