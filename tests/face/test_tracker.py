"""The embedded tracker on a real photo that scikit-image ships, moved, turned and multiplied by the tests."""

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from portrayal.errors import InputError
from portrayal.face.box import box_of_landmarks, crop_matrix, overlaps, warp
from portrayal.face.measure import inter_ocular
from portrayal.face.pose import rotation_to_angles
from portrayal.face.topology import MIRROR
from portrayal.face.tracker import load_tracker, pick_device

PHOTO = skimage.data.astronaut()
FACE = PHOTO[40:240, 120:320]
"""The face with some margin, 200 x 200."""


@pytest.fixture(scope="module")
def tracker():
    return load_tracker("cpu")


@pytest.fixture(scope="module")
def truth(tracker):
    return tracker.find(PHOTO)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Mean distance in the picture plane / inter-ocular distance."""
    return float((found - expected)[..., :2].norm(dim=-1).mean() / inter_ocular(expected).mean())


def canvas(h: int, w: int) -> np.ndarray:
    return np.full((h, w, 3), 128, np.uint8)


def test_one_face_where_it_is(truth):
    """The astronaut's eyes and mouth, read off the picture by hand (pixels, within a tenth of the face)."""
    assert len(truth) == 1
    points = truth.landmarks[0, :, :2].numpy()
    for index, place in ((468, (206, 106)), (473, (244, 106)), (1, (226, 128)), (13, (226, 148))):
        assert np.linalg.norm(points[index] - place) < 10
    assert float(truth.confidence[0]) > 0.9


def test_mirrored_picture_mirrors_the_face(tracker, truth):
    found = tracker.find(np.ascontiguousarray(PHOTO[:, ::-1]))
    flipped = found.landmarks.clone()
    flipped = flipped[:, list(MIRROR)]
    flipped[..., 0] = PHOTO.shape[1] - flipped[..., 0]
    assert relative_error(flipped, truth.landmarks) < 0.05


@pytest.mark.parametrize("degrees", [-40, -20, 20, 40])
def test_rotate_the_picture_and_the_roll_rotates(tracker, degrees):
    still = tracker.track_picture(PHOTO)[0]
    matrix = crop_matrix(np.array([225.0, 130.0, 400.0, -np.radians(degrees)]), 400)
    turned = tracker.track_picture(warp(PHOTO, matrix, (400, 400)))[0]
    change = torch.rad2deg(rotation_to_angles(turned.rotation) - rotation_to_angles(still.rotation))[0]
    assert float(change[2]) == pytest.approx(degrees, abs=2.5)
    assert change[:2].abs().max() < 5


@pytest.mark.parametrize("scale", [0.6, 1.7])
def test_scale_the_picture_and_the_landmarks_scale(tracker, truth, scale):
    size = (round(512 * scale), round(512 * scale))
    found = tracker.find(cv2.resize(PHOTO, size, interpolation=cv2.INTER_AREA))
    ratio = size[0] / 512
    assert relative_error(found.landmarks[:1], truth.landmarks * ratio) < 0.06


def test_small_face_is_found(tracker):
    """A face box of about 24 px."""
    small = cv2.resize(PHOTO, (160, 160), interpolation=cv2.INTER_AREA)
    picture = canvas(480, 640)
    picture[200:360, 300:460] = small
    boxes = tracker.find(picture).boxes
    expected = np.array([[300 + 225 * 160 / 512, 200 + 125 * 160 / 512, 27.0, 0.0]])
    assert overlaps(expected, boxes).max() > 0.35


def test_every_face_of_a_group(tracker):
    picture = canvas(420, 700)
    for x, y, size in ((20, 20, 200), (260, 150, 260), (540, 30, 140)):
        picture[y : y + size, x : x + size] = cv2.resize(FACE, (size, size), interpolation=cv2.INTER_AREA)
    sides = tracker.find(picture).boxes[:, 2]
    assert len(sides) == 3
    assert (np.diff(sides) < 0).all()  # largest first


@pytest.mark.parametrize("picture", [canvas(300, 400), skimage.data.chelsea(), skimage.data.coffee()])
def test_no_face(tracker, picture):
    assert tracker.track_picture(picture) == []


def test_tiny_picture(tracker):
    assert tracker.track_picture(canvas(3, 5)) == []


def moving(frames: int, step: int = 3) -> list[np.ndarray]:
    return [np.ascontiguousarray(np.roll(PHOTO, (t, step * t), (0, 1))) for t in range(frames)]


def test_stream_follows_one_face_with_one_number(tracker, truth):
    stream = tracker.stream()
    for t, picture in enumerate(moving(12)):
        faces = stream.step(picture)
        assert [f.number for f in faces] == [0]
        shifted = truth.landmarks + torch.tensor([3.0 * t, float(t), 0])
        assert relative_error(faces[0].params.landmarks, shifted) < 0.06


def test_batch_agrees_with_stream(tracker):
    """Over a search, a loss and steady frames."""
    pictures = [*moving(8, 1), canvas(512, 512), *moving(30, 1)]
    one, many = tracker.stream(), tracker.stream()
    alone = [one.read_batch([p])[0] for p in pictures]
    together = [faces for i in range(0, len(pictures), 6) for faces in many.read_batch(pictures[i : i + 6])]
    assert [[f.number for f in faces] for faces in alone] == [[f.number for f in faces] for faces in together]
    for a, b in zip(alone, together, strict=True):
        for x, y in zip(a, b, strict=True):
            assert relative_error(x.reading.landmarks, y.reading.landmarks) < 0.015


def test_a_face_that_comes_back_keeps_its_number(tracker):
    stream = tracker.stream()
    empty = canvas(512, 512)
    seen = [[f.number for f in stream.step(p)] for p in (PHOTO, PHOTO, empty, empty, PHOTO, PHOTO)]
    assert seen == [[0], [0], [], [], [0], [0]]


def test_cut_to_another_place(tracker):
    stream = tracker.stream()
    other = canvas(512, 512)
    other[260:460, 20:220] = FACE
    stream.step(PHOTO)
    face = stream.step(other)[0]
    assert overlaps(face.reading.boxes, np.array([[120.0, 345.0, 90.0, 0.0]]))[0, 0] > 0.4


def test_estimate_agrees_with_measure_and_has_gradients(tracker, truth):
    box = box_of_landmarks(truth.landmarks[0].numpy())[None]
    picture = torch.from_numpy(PHOTO).permute(2, 0, 1)[None].float().div(255).requires_grad_()
    landmarks, openness, confidence = tracker.estimate(picture, box)
    measured = tracker.measure([PHOTO], box)
    assert relative_error(landmarks.detach(), measured.landmarks) < 0.02
    (landmarks.sum() + openness.sum() + confidence.sum()).backward()
    assert picture.grad.abs().sum() > 0


def test_same_picture_same_result(tracker):
    a, b = tracker.find(PHOTO), tracker.find(PHOTO)
    assert torch.equal(a.landmarks, b.landmarks)


def test_unknown_device():
    with pytest.raises(InputError, match="--device tpu9"):
        pick_device("tpu9")
