"""Framed pairs: poses and head shapes fit the cropped pictures, and a sample depends on seed and index alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from portrayal.data.bad import BadSample
from portrayal.data.face_pairs import FacePairs
from portrayal.face.topology import LEFT_IRIS, RIGHT_IRIS
from portrayal.systems.mmfa.keypoints import transform_keypoints
from tests.data.made_faces import make_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "faces", frames=12)


def pairs(folder: Path, **changes: float) -> FacePairs:
    options = {"photo_share": 0.0, "more": 0} | changes
    return FacePairs(folder, "train", size=128, seed=0, samples=100, cache=folder / "cache", **options)  # type: ignore[arg-type]


def landmarks(sample: dict[str, Tensor], role: str) -> Tensor:
    """(478, 3) where pose and shape put the landmarks, normalised."""
    shape, pose = (
        sample[f"{role}_shape"][None],
        [sample[f"{role}_{k}"][None] for k in ("rotation", "scale", "translation")],
    )
    return transform_keypoints(shape, torch.zeros_like(shape), *pose)[0]


def test_pose_and_shape_put_the_irises_where_the_picture_shows_them(folder: Path) -> None:
    data = pairs(folder)
    for index in range(8):  # mirrored ones among them
        sample = data[index]
        for role in ("source", "driving"):
            points = ((landmarks(sample, role)[:, :2] + 1) * 64).int()
            grey = sample[role].float().mean(0)
            for iris in (RIGHT_IRIS, LEFT_IRIS):
                x, y = points[iris[0]].tolist()
                around = grey[y - 8 : y + 9, x - 8 : x + 9]
                assert float(grey[y, x]) < float(around.mean()), (index, role)


def test_the_source_is_framed_about_as_animate_frames_it(folder: Path) -> None:
    for index in range(8):
        points = landmarks(pairs(folder)[index], "source")[:, :2]
        side = float((points.amax(0) - points.amin(0)).max()) / 2
        assert 1 / 2.6 < side < 1 / 1.6
        assert bool((points.mean(0).abs() < 0.4).all())


def test_a_sample_depends_on_seed_and_index_alone(folder: Path) -> None:
    first, second = pairs(folder, photo_share=0.5, more=2), pairs(folder, photo_share=0.5, more=2)
    second[3]
    for name, value in first[5].items():
        assert torch.equal(value, second[5][name]), name


def test_of_a_photo_the_warped_picture_is_the_source(folder: Path) -> None:
    sample = pairs(folder, photo_share=1.0)[0]
    assert not torch.equal(sample["source"], sample["driving"])
    assert not torch.allclose(sample["source_shape"], sample["driving_shape"])


def test_more_faces_come_without_pictures(folder: Path) -> None:
    sample = pairs(folder, more=3)[0]
    assert sample["more_shape"].shape == sample["more_neutral"].shape == (12, 478, 3)


def test_a_clip_that_cannot_be_read_is_a_bad_sample(folder: Path) -> None:
    data = pairs(folder)
    for clip in (folder / "clips").glob("*.mp4"):
        clip.write_bytes(b"nothing")
    with pytest.raises(BadSample, match="clip00"):
        data[0]
