"""Framed faces: where eyes and mouth come to lie, mirrored pictures, samples that repeat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from portrayal.face.align import ffhq_square
from portrayal.face.topology import LEFT_EYE, MOUTH_CORNERS, RIGHT_EYE
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.faces import FramedFaces, as_input, first_faces, frame_face
from tests.data.made_faces import draw_face, make_folder

CONFIG = replace(Config.tiny(), image_size=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data") / "faces")


def eyes_and_mouth(points: np.ndarray) -> np.ndarray:
    return np.stack([points[list(part), :2].mean(0) for part in (RIGHT_EYE, LEFT_EYE, MOUTH_CORNERS)])


def test_the_square_by_hand() -> None:
    """Eyes 40 apart, the mouth 60 below: half the side is 1.8 * 60, the centre 6 below the eyes."""
    points = np.zeros((478, 3))
    points[list(RIGHT_EYE)] = [80, 100, 0]
    points[list(LEFT_EYE)] = [120, 100, 0]
    points[list(MOUTH_CORNERS)] = [100, 160, 0]
    assert ffhq_square(points) == pytest.approx([100, 106, 216, 0])
    points[list(MOUTH_CORNERS)] = [100, 130, 0]
    assert ffhq_square(points) == pytest.approx([100, 103, 160, 0])  # 2 * 40 is longer now


@pytest.mark.parametrize("roll", [-0.6, 0.0, 0.4])
def test_a_turned_face_is_framed_alike_or_stays_turned(roll: float) -> None:
    picture, points = draw_face(160, (90, 70), 40, roll)
    _, straight = draw_face(160, (90, 70), 40, 0.0)
    assert ffhq_square(points)[3] == pytest.approx(roll, abs=1e-6)
    reference = frame_face(picture, straight, size=64, upright=False)
    turned = frame_face(picture, points, size=64, upright=False)
    np.testing.assert_allclose(turned.landmarks, reference.landmarks, atol=1e-2)
    upright = frame_face(picture, points, size=64, upright=True)
    right, left, _ = eyes_and_mouth(upright.landmarks)
    assert np.arctan2(*(left - right)[::-1]) == pytest.approx(roll, abs=1e-3)


def test_the_picture_shows_what_the_landmarks_say() -> None:
    picture, points = draw_face(160, (70, 90), 40, 0.3)
    face = frame_face(picture, points, size=64, upright=True)
    for shown in (face, face.mirrored()):
        for iris in (468, 473):
            x, y = shown.landmarks[iris, :2].astype(int)
            assert shown.picture[y, x].mean() < 80, "the iris is dark"
        x, y = eyes_and_mouth(shown.landmarks)[2].astype(int)
        assert shown.picture[y, x, 0] > shown.picture[y, x, 1] + 50, "the lips are red"
    right, left, _ = eyes_and_mouth(face.mirrored().landmarks)
    assert right[0] < left[0]


def test_samples_repeat_and_differ(folder: Path) -> None:
    faces = FramedFaces(folder, "train", CONFIG, seed=3, samples=40)
    assert len(faces) == 40
    for index in (0, 7):
        again = FramedFaces(folder, "train", CONFIG, seed=3, samples=40)[index]
        assert all(torch.equal(value, again[name]) for name, value in faces[index].items())
    assert faces[0]["image"].shape == (3, 64, 64)
    assert faces[0]["landmarks"].shape == (478, 3)
    assert len({bytes(faces[i]["image"].numpy()) for i in range(12)}) > 6
    other = FramedFaces(folder, "train", CONFIG, seed=4, samples=40)
    assert any(not torch.equal(faces[i]["image"], other[i]["image"]) for i in range(4))


def test_photos_and_mirroring_follow_the_configuration(folder: Path) -> None:
    photos = FramedFaces(folder, "train", replace(CONFIG, photo_share=1, mirror=False), seed=0, samples=30)
    assert len({bytes(photos[i]["image"].numpy()) for i in range(30)}) == 3
    mirrored = FramedFaces(folder, "train", replace(CONFIG, photo_share=1), seed=0, samples=30)
    assert len({bytes(mirrored[i]["image"].numpy()) for i in range(30)}) == 6


def test_pairs_are_two_frames_of_a_clip(folder: Path) -> None:
    pairs = FramedFaces(folder, "train", CONFIG, seed=0, samples=4, pairs=True)
    sample = pairs[0]
    assert set(sample) == {"source_image", "source_landmarks", "driving_image", "driving_landmarks"}
    assert not torch.equal(sample["source_image"], sample["driving_image"])


def test_the_cache_changes_nothing(folder: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, photo_share=0)
    plain, cached = (FramedFaces(folder, "train", config, seed=0, samples=4) for _ in range(2))
    cached.cache_in(tmp_path / "cache")
    for i in range(4):
        assert torch.equal(plain[i]["image"], cached[i]["image"])
    assert any((tmp_path / "cache").iterdir())


def test_first_faces_are_the_same_every_time(folder: Path) -> None:
    batch = first_faces(folder, "train", CONFIG, 5)
    assert batch["image"].shape == (5, 3, 64, 64)
    span = as_input(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    assert span.flatten().tolist() == [-1, 1]
