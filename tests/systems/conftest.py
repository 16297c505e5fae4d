"""A portrait that the tests draw over the mean face."""

import cv2
import numpy as np
import pytest
import torch

from portrayal.face.camera import camera_from_pose
from portrayal.face.morphable import load_face_model, params_to_landmarks
from portrayal.face.topology import FACE_OVAL, LEFT_EYE, LEFT_IRIS, LIPS_OUTER, RIGHT_EYE, RIGHT_IRIS
from portrayal.media.image import to_tensor
from portrayal.types import FaceParams, Portrait

SIZE = 256
IRIS_BLUE = (30, 60, 200)


@pytest.fixture(scope="session")
def portrait() -> Portrait:
    """A (256, 256) drawing: textured background, hair, skin, white eyes with blue irises, red shut lips."""
    params = mean_params(SIZE)
    return Portrait(torch.from_numpy(draw(params)).permute(2, 0, 1)[None].float() / 255, params)


def mean_params(size: int) -> FaceParams:
    """The mean face in the middle of a square crop, about 2.3 times as large as the face."""
    rotation, scale = torch.eye(3)[None], torch.tensor([size / 4.4])
    translation = torch.tensor([[size / 2, size * 0.53, 0.0]])
    params = FaceParams(
        landmarks=torch.zeros(1, 478, 3),
        identity=torch.zeros(1, 80),
        expression=torch.zeros(1, 64),
        rotation=rotation,
        translation=translation,
        scale=scale,
        gaze=torch.zeros(1, 2, 2),
        camera=camera_from_pose(rotation, translation, scale, width=size, height=size),
        eye_openness=torch.full((1, 2), 0.3),
        confidence=torch.ones(1),
    )
    return params.replace(landmarks=params_to_landmarks(load_face_model(), params))


def draw(params: FaceParams) -> np.ndarray:
    """(256, 256, 3) uint8."""
    points = params.landmarks[0, :, :2].numpy()
    rng = np.random.default_rng(0)
    noise = cv2.resize(
        rng.integers(60, 200, (16, 16, 1), dtype=np.uint8).repeat(3, 2), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC
    )
    image = np.ascontiguousarray(noise)

    def fill(indices: tuple[int, ...], colour: tuple[int, int, int]) -> None:
        cv2.fillPoly(image, [np.round(points[list(indices)] * 16 - 8).astype(np.int32)], colour, cv2.LINE_AA, 4)

    centre = points[list(FACE_OVAL)].mean(0)
    cv2.ellipse(image, (int(centre[0]), int(centre[1] - 12)), (60, 78), 0, 0, 360, (70, 45, 30), -1, cv2.LINE_AA)
    fill(FACE_OVAL, (214, 168, 140))
    for eye, iris in ((RIGHT_EYE, RIGHT_IRIS), (LEFT_EYE, LEFT_IRIS)):
        fill(eye, (240, 240, 240))
        mask = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(mask, [np.round(points[list(eye)]).astype(np.int32)], 1)
        radius = np.linalg.norm(points[iris[1]] - points[iris[0]])
        y, x = np.mgrid[:SIZE, :SIZE] + 0.5
        image[(np.hypot(x - points[iris[0], 0], y - points[iris[0], 1]) < radius) & (mask > 0)] = IRIS_BLUE
    fill(LIPS_OUTER, (190, 60, 70))
    return image


@pytest.fixture(scope="module")
def haired() -> Portrait:
    """A face with black hair before a wall with a vertical line through the head, wearing red."""
    params = mean_params(SIZE)
    face, oval = draw(params), params.landmarks[0, list(FACE_OVAL), :2].numpy()
    inside = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(inside, [oval.round().astype(np.int32)], 1)
    scene = np.full((SIZE, SIZE, 3), (120, 150, 190), np.uint8)
    (x, y), low = oval.mean(0).astype(int).tolist(), int(oval[:, 1].max())
    scene[:, x - 4 : x + 4] = (240, 240, 90)
    scene[low + 20 :] = (190, 30, 40)
    cv2.rectangle(scene, (x - 18, low - 10), (x + 18, SIZE), (200, 150, 120), -1)
    cv2.ellipse(scene, (x, y - 10), (62, 76), 0, 0, 360, (30, 20, 15), -1)
    scene[inside > 0] = face[inside > 0]
    return Portrait(to_tensor(scene), params)
