"""Tracks of files: nearest frames, joining pieces, track files."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from portrayal.errors import InputError, MissingFileError
from portrayal.tracking import join_tracks, load_track, nearest, one_torch_thread, prominence, save_track
from portrayal.types import FaceParams, Track


def make_track(found: list[bool], *, scale: float = 100.0, mark: float = 0.0) -> Track:
    """A face whose landmarks hold the number of the frame it was seen in, plus `mark`."""
    t = len(found)
    seen = torch.tensor(found)
    at = nearest(seen.nonzero()[:, 0], t)
    frame = seen.nonzero()[:, 0][at].float() + mark
    params = FaceParams(
        landmarks=frame[:, None, None].expand(t, 478, 3).clone(),
        identity=torch.zeros(t, 80),
        expression=torch.zeros(t, 64),
        rotation=torch.eye(3).repeat(t, 1, 1),
        translation=torch.zeros(t, 3),
        scale=torch.full((t,), scale),
        gaze=torch.zeros(t, 2, 2),
        camera=torch.zeros(t, 25),
        eye_openness=torch.full((t, 2), 0.3),
        confidence=seen.float(),
    )
    times = tuple(Fraction(i * 1001, 30000) for i in range(t))
    return Track(params, times, 640, 480, seen)


@given(st.sets(st.integers(0, 30), min_size=1), st.integers(31, 40))
def test_nearest_is_nearest(seen: set[int], count: int) -> None:
    frames = sorted(seen)
    chosen = [frames[i] for i in nearest(torch.tensor(frames), count).tolist()]
    for frame, found in enumerate(chosen):
        assert abs(frame - found) == min(abs(frame - other) for other in frames)


def test_pieces_of_one_face_are_joined() -> None:
    first = make_track([True] * 6 + [False] * 4)
    second = make_track([False] * 7 + [True] * 3, mark=0.5)
    whole = join_tracks([first, second])
    assert whole.found.tolist() == [True] * 6 + [False] + [True] * 3
    assert whole.params.landmarks[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 5, 7.5, 8.5, 9.5]
    assert whole.params.confidence.tolist() == [1, 1, 1, 1, 1, 1, 0, 1, 1, 1]


def test_another_face_at_the_same_time_is_not_joined() -> None:
    first, other = make_track([True] * 6 + [False] * 4), make_track([False] * 5 + [True] * 5, mark=0.5)
    assert join_tracks([first, other]).found.tolist() == first.found.tolist()


def test_prominence_counts_size_and_time() -> None:
    long, short, large = make_track([True] * 8), make_track([True] * 2 + [False] * 6), make_track([True] * 8, scale=200)
    assert prominence(large) > prominence(long) > prominence(short)


def test_a_track_file_gives_everything_back(tmp_path: Path) -> None:
    track = make_track([True, False, True])
    save_track(tmp_path / "a" / "x.track.safetensors", track, note="two words")
    again, note = load_track(tmp_path / "a" / "x.track.safetensors")
    assert note == "two words"
    assert again.times == track.times
    assert (again.width, again.height) == (640, 480)
    assert torch.equal(again.found, track.found)
    for field in fields(FaceParams):
        assert torch.equal(getattr(again.params, field.name), getattr(track.params, field.name))
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x.track.safetensors"]


def test_track_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "x.track.safetensors"
    with pytest.raises(MissingFileError, match="does not exist"):
        load_track(path)
    path.write_bytes(b"no safetensors file")
    with pytest.raises(InputError, match="is not a track file"):
        load_track(path)
    save_track(path, make_track([True, True]))
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata())
    save_file(tensors, path, metadata | {"format": "portrayal-track-9"})
    with pytest.raises(InputError, match="portrayal-track-9"):
        load_track(path)
    del tensors["scale"]
    save_file(tensors, path, metadata)
    with pytest.raises(InputError, match=r"damaged.*scale"):
        load_track(path)


def test_threads_come_back() -> None:
    before = torch.get_num_threads()
    with one_torch_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
