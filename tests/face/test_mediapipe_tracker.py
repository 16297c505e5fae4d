"""The MediaPipe tracker on drawn heads: a red and a green dot for the outer eye corners, which a landmarker written
here finds in whatever it is shown. The last test runs the real package where it and its model file are there."""

import sys
from fractions import Fraction
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from portrayal.errors import InputError, MissingFileError, PortrayalError
from portrayal.face.box import box_of_landmarks
from portrayal.face.measure import eye_openness, inter_ocular
from portrayal.face.mediapipe_tracker import MOST_FACES, WEIGHTS, MediapipeTracker, open_landmarker
from portrayal.face.morphable import load_face_model
from portrayal.face.topology import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS
from portrayal.face.tracker import load_tracker
from portrayal.tracking import follow_faces
from portrayal.types import Frame
from portrayal.weights.registry import find_weights

MODEL = load_face_model()
MEAN = MODEL.mean.numpy()
EYES = (RIGHT_EYE_CORNERS[0], LEFT_EYE_CORNERS[0])


def place_head(right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """The mean face with its outer eye corners at two points in pixels: (478, 3)."""
    a, b = MEAN[EYES[0], :2], MEAN[EYES[1], :2]
    turn = complex(*(left - right)) / complex(*(b - a))
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.concatenate([(MEAN[:, :2] - a) @ linear.T + right, MEAN[:, 2:] * abs(turn)], 1)


def head(x: float, y: float, eyes: float, degrees: float = 0.0) -> np.ndarray:
    """A head whose eyes' middle is (x, y), with its outer eye corners `eyes` pixels apart."""
    along = eyes / 2 * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    return place_head(np.array([x, y]) - along, np.array([x, y]) + along)


def draw(heads: list[np.ndarray], size: tuple[int, int] = (480, 640)) -> np.ndarray:
    """Heads in a picture of height and width `size`."""
    picture = np.zeros((*size, 3), np.uint8)
    for points in heads:
        radius = 0.1 * np.linalg.norm(points[EYES[0], :2] - points[EYES[1], :2])
        for index, colour in zip(EYES, ((255, 0, 0), (0, 255, 0)), strict=True):
            centre = np.round((points[index, :2] - 0.5) * 16).astype(int).tolist()
            cv2.circle(picture, centre, round(radius * 16), colour, -1, cv2.LINE_AA, 4)
    return picture


def see_drawn_heads(picture: np.ndarray) -> np.ndarray:
    """What MediaPipe's landmarker would say about drawn heads, smallest first."""
    assert picture.flags.c_contiguous
    assert picture.dtype == np.uint8
    reds, greens = (_centres(picture[..., channel]) for channel in (0, 1))
    h, w = picture.shape[:2]
    found = []
    for red in reds:
        if len(greens):
            green = greens[np.linalg.norm(greens - red, axis=1).argmin()]
            found.append(place_head(red, green) / np.array([w, h, w]))
    found.sort(key=lambda points: np.ptp(points[:, 0]))
    return np.array(found, np.float32).reshape(-1, 478, 3)


def _centres(channel: np.ndarray) -> np.ndarray:
    """Centroids of the bright spots of a channel, weighted with its values."""
    count, labels = cv2.connectedComponents((channel > 64).astype(np.uint8))
    rows, columns = np.mgrid[: channel.shape[0], : channel.shape[1]] + 0.5
    weights = [(labels == i) * channel.astype(float) for i in range(1, count)]
    return np.array([((columns * v).sum() / v.sum(), (rows * v).sum() / v.sum()) for v in weights]).reshape(-1, 2)


@pytest.fixture(scope="module")
def tracker():
    return MediapipeTracker(see_drawn_heads, MODEL)


def test_find_gives_pixels_of_an_oblong_picture_largest_first(tracker):
    heads = [head(420, 200, 90, -15), head(130, 250, 60)]
    reading = tracker.find(draw(heads))
    assert len(reading) == 2
    assert reading.confidence.tolist() == [1, 1]
    for found, expected in zip(reading.landmarks.numpy(), heads, strict=True):
        assert np.abs(found - expected).max() < 1.0
    assert torch.equal(reading.eye_openness, eye_openness(reading.landmarks))


@pytest.mark.parametrize("degrees", [0, 35, -120])
@pytest.mark.parametrize("eyes", [24, 70, 150])
def test_measure_maps_an_upright_crop_back(tracker, degrees, eyes):
    expected = head(330, 240, eyes, degrees)
    picture = draw([expected])
    box = box_of_landmarks(expected) + np.array([4.0, -3.0, 6.0, 0.1])
    reading = tracker.measure([picture], box[None])
    assert reading.confidence.tolist() == [1]
    error = np.abs(reading.landmarks[0].numpy() - expected).max()
    assert error < 0.02 * eyes + 0.5


def test_measure_takes_the_face_at_the_box_not_its_neighbour(tracker):
    heads = [head(200, 220, 60), head(320, 220, 70)]
    picture = draw(heads)
    boxes = np.stack([box_of_landmarks(points) for points in heads])
    reading = tracker.measure([picture, picture], boxes)
    for found, expected in zip(reading.landmarks.numpy(), heads, strict=True):
        assert np.abs(found - expected).max() < 2.0


def test_measure_without_a_face_holds_the_box(tracker):
    elsewhere = draw([head(500, 100, 40)])
    box = np.array([[180.0, 300.0, 90.0, 0.3]])
    reading = tracker.measure([elsewhere], box)
    assert reading.confidence.tolist() == [0]
    assert reading.boxes == pytest.approx(box, abs=0.1)
    assert len(tracker.measure([], np.zeros((0, 4)))) == 0


def test_nothing_to_see(tracker):
    assert tracker.track_picture(draw([])) == []
    assert tracker.track_picture(draw([head(30, 30, 5)], (60, 60))) == []  # a face box of less than 12 px


def test_pictures_below_the_smallest_face_are_not_shown():
    def refuse(picture):
        raise AssertionError

    assert len(MediapipeTracker(refuse, MODEL).find(np.zeros((4, 300, 3), np.uint8))) == 0


def test_track_picture_fits_the_face_model(tracker):
    params = tracker.track_picture(draw([head(300, 240, 80, 20)]))[0]
    assert params.landmarks.shape == (1, 478, 3)
    again = tracker.fit(tracker.find(draw([head(300, 240, 80, 20)])), 640, 480)
    assert torch.equal(params.expression, again.expression)


def test_stream_keeps_numbers(tracker):
    stream = tracker.stream()
    pair = [draw([head(150 + 6 * t, 200, 60), head(450, 240, 80, 2 * t)]) for t in range(8)]
    empty = draw([])
    seen = [[face.number for face in stream.step(picture)] for picture in (*pair, empty, empty, *pair[-2:])]
    assert seen == [[0, 1]] * 8 + [[], []] + [[0, 1]] * 2


def test_follow_faces(tracker):
    pictures = [draw([head(200 + 5 * t, 200, 80)]) for t in range(3)] + [draw([])] + [draw([head(220, 200, 80)])]
    frames = [Frame(picture, Fraction(t, 25)) for t, picture in enumerate(pictures)]
    (track,) = follow_faces(frames, tracker=tracker)
    assert track.found.tolist() == [True, True, True, False, True]
    assert track.params.confidence.tolist() == [1, 1, 1, 0, 1]
    assert float((track.params.landmarks[1] - torch.from_numpy(head(205, 200, 80))).abs().max()) < 1.5


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """A package with MediaPipe's names, whose landmarker sees drawn heads, and an empty weights folder."""
    options = []

    class FaceLandmarker:
        @classmethod
        def create_from_options(cls, chosen):
            options.append(chosen)
            if chosen.base_options.model_asset_buffer != b"model":
                raise RuntimeError("Unable to open zip archive.")
            return cls()

        def detect(self, image):
            faces = see_drawn_heads(image.data)
            return SimpleNamespace(face_landmarks=[[SimpleNamespace(x=x, y=y, z=z) for x, y, z in f] for f in faces])

    names = {
        "mediapipe": {"Image": SimpleNamespace, "ImageFormat": SimpleNamespace(SRGB=1)},
        "mediapipe.tasks": {},
        "mediapipe.tasks.python": {"BaseOptions": SimpleNamespace},
        "mediapipe.tasks.python.vision": {
            "FaceLandmarker": FaceLandmarker,
            "FaceLandmarkerOptions": SimpleNamespace,
            "RunningMode": SimpleNamespace(IMAGE="IMAGE"),
        },
    }
    for name, contents in names.items():
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("PORTRAYAL_WEIGHTS", str(tmp_path))
    return options


def test_open_landmarker(stand_in, tmp_path):
    model = tmp_path / "any.task"
    model.write_bytes(b"model")
    look = open_landmarker(model)
    assert stand_in[0].running_mode == "IMAGE"
    assert stand_in[0].num_faces == MOST_FACES
    picture = draw([head(300, 200, 70)])
    assert look(picture) == pytest.approx(see_drawn_heads(picture))
    assert look(draw([])).shape == (0, 478, 3)


def test_missing_model_file(stand_in):
    with pytest.raises(MissingFileError, match="run: portrayal weights get mediapipe-face-landmarker"):
        load_tracker("cpu", "mediapipe")


def test_unusable_model_file(stand_in, tmp_path):
    (tmp_path / "any.task").write_bytes(b"else")
    with pytest.raises(PortrayalError, match=r"any\.task: mediapipe cannot use this model .*Unable to open"):
        open_landmarker(tmp_path / "any.task")


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(InputError, match=r'pip install "portrayal\[mediapipe\]"'):
        load_tracker("cpu", backend="mediapipe")


def test_backends():
    assert load_tracker("cpu") is load_tracker("cpu", "portrayal")
    with pytest.raises(InputError, match="tracker backend 'dlib' is unknown; use portrayal or mediapipe"):
        load_tracker("cpu", "dlib")


def test_the_real_package_on_a_photo(portrait):
    pytest.importorskip("mediapipe", reason='mediapipe is not installed (pip install "portrayal[mediapipe]")')
    try:
        find_weights(WEIGHTS)
    except InputError as error:
        pytest.skip(str(error))
    tracker = load_tracker("cpu", "mediapipe")
    found = tracker.find(portrait)
    assert len(found) == 1
    again = tracker.measure([portrait], found.boxes)
    own = load_tracker("cpu").find(portrait)
    for other in (again, own):
        error = (other.landmarks - found.landmarks)[..., :2].norm(dim=-1).mean() / inter_ocular(found.landmarks)[0]
        assert float(error) < 0.08
