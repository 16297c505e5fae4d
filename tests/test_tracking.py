"""Faces followed through frames: who, when, and what happens where nobody is seen."""

from fractions import Fraction

import numpy as np
import pytest
import skimage.data
import torch

from portrayal.face.tracker import load_tracker
from portrayal.tracking import follow_faces, join_tracks, load_track, nearest, save_track
from portrayal.types import Frame

PHOTO = skimage.data.astronaut()
EMPTY = np.full((512, 512, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def tracker():
    return load_tracker("cpu")


def frames(*pictures: np.ndarray) -> list[Frame]:
    return [Frame(p, Fraction(t, 25)) for t, p in enumerate(pictures)]


@pytest.fixture(scope="module")
def tracks(tracker):
    return follow_faces(frames(PHOTO, PHOTO, EMPTY, PHOTO), tracker=tracker)


def test_frames_without_a_face_hold_the_nearest(tracks):
    (track,) = tracks
    assert track.found.tolist() == [True, True, False, True]
    assert track.params.confidence[2] == 0
    assert torch.equal(track.params.landmarks[2], track.params.landmarks[1])
    assert track.times == tuple(Fraction(t, 25) for t in range(4))
    assert (track.params.identity == track.params.identity[:1]).all()  # shared within a clip


def test_the_larger_face_comes_first(tracker):
    pair = EMPTY.copy()
    pair[:200, :200] = PHOTO[40:240, 120:320]
    pair[200:, 200:] = PHOTO[40:240:1, 120:320][:312, :312].repeat(2, 0).repeat(2, 1)[:312, :312]
    found = follow_faces(frames(pair, pair), tracker=tracker)
    assert len(found) == 2
    assert found[0].params.scale.mean() > found[1].params.scale.mean()


def test_no_face_gives_no_track(tracker):
    assert follow_faces(frames(EMPTY, EMPTY), tracker=tracker) == []


def test_joining_one_track_changes_nothing(tracks):
    assert torch.equal(join_tracks(tracks).params.landmarks, tracks[0].params.landmarks)


def test_track_files_come_back_as_they_were(tracks, tmp_path):
    path = tmp_path / "face.track.safetensors"
    save_track(path, tracks[0], note="2")
    back, note = load_track(path)
    assert note == "2"
    assert back.times == tracks[0].times
    assert torch.equal(back.found, tracks[0].found)
    assert torch.equal(back.params.landmarks, tracks[0].params.landmarks)


def test_nearest_by_hand():
    assert nearest(torch.tensor([1, 2, 6]), 8).tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
