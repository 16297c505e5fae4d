"""The labelled data folder: decoding of the labels, split by identity, errors."""

import os
from pathlib import Path

import numpy as np
import pytest

from portrayal.data.clips import (
    VALIDATION_IDENTITIES,
    clip_table,
    load_clip_landmarks,
    load_photo_landmarks,
    photo_table,
)
from portrayal.errors import InputError, MissingFileError

DATA = Path(os.environ.get("PORTRAYAL_DATA", "../shared/data"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips.csv").write_text("clip,identity,frames\na,id001,3\nb,id003,3\n")
    (tmp_path / "photos.csv").write_text("photo,identity,size\np,id003,300\nq,id900,200\n")
    landmarks = np.arange(3 * 478 * 3).reshape(3, 478, 3) % 2000 / 8
    delta = np.diff(landmarks.transpose(1, 2, 0) * 8, axis=2, prepend=0).astype(np.int16)
    np.savez(tmp_path / "clips" / "a.npz", landmarks_delta=delta, valid=np.array([1, 1, 0], bool))
    np.savez(tmp_path / "photos.npz", landmarks=np.full((2, 478, 3), 64, np.int16))
    return tmp_path, landmarks


def test_landmarks_are_decoded(folder):
    root, expected = folder
    landmarks, valid = load_clip_landmarks(root, clip_table(root)[0])
    assert landmarks.dtype == np.float32
    np.testing.assert_array_equal(landmarks, expected)
    np.testing.assert_array_equal(valid, [True, True, False])
    assert (load_photo_landmarks(root) == 2).all()


def test_split_is_by_identity(folder):
    root, _ = folder
    assert [c.name for c in clip_table(root, "train")] == ["a"]
    assert [c.name for c in clip_table(root, "validation")] == ["b"]
    assert [(p.name, p.row) for p in photo_table(root, "train")] == [("q", 1)]


def test_a_split_column_wins(folder):
    root, _ = folder
    (root / "clips.csv").write_text("clip,identity,frames,split\na,id001,3,validation\nb,id003,3,train\n")
    assert [c.name for c in clip_table(root, "train")] == ["b"]


def test_errors_name_the_file(folder):
    root, _ = folder
    with pytest.raises(MissingFileError, match=r"b\.npz"):
        load_clip_landmarks(root, "b")
    (root / "clips" / "a.npz").write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"a\.npz must hold"):
        load_clip_landmarks(root, "a")
    with pytest.raises(MissingFileError, match=r"clips\.csv"):
        clip_table(root / "elsewhere")
    (root / "photos.csv").write_text("name\nx\n")
    with pytest.raises(InputError, match="columns photo, identity, size"):
        photo_table(root)


@pytest.mark.skipif(not (DATA / "clips.csv").is_file(), reason=f"the development data is not at {DATA}")
def test_development_data():
    clips = clip_table(DATA)
    assert {c.identity for c in clip_table(DATA, "validation")} == VALIDATION_IDENTITIES
    assert not {c.identity for c in clip_table(DATA, "train")} & VALIDATION_IDENTITIES
    landmarks, valid = load_clip_landmarks(DATA, clips[0])
    assert landmarks.shape == (clips[0].frames, 478, 3)
    assert 0 < landmarks[valid][..., :2].mean() < 256
    assert len(load_photo_landmarks(DATA)) == len(photo_table(DATA))
