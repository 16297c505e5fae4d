"""Faces that the tests make from the embedded model."""

import pytest
import torch

from portrayal.face.morphable import load_face_model, params_to_landmarks
from portrayal.face.pose import angles_to_rotation
from portrayal.types import FaceParams


@pytest.fixture(scope="session")
def model():
    return load_face_model()


@pytest.fixture(scope="session")
def make_params(model):
    """make_params(t, seed): plausible faces of one identity in a 512 x 512 picture, landmarks from the model."""

    def make(t: int = 3, seed: int = 0) -> FaceParams:
        g = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=g)

        params = FaceParams(
            landmarks=torch.zeros(t, 478, 3),
            identity=0.5 * normal(1, 80).expand(t, -1),
            expression=0.7 * normal(t, 64),
            rotation=angles_to_rotation(0.2 * normal(t, 3)),
            translation=torch.tensor([256.0, 256, 0]) + 20 * normal(t, 3),
            scale=110 + 10 * torch.rand(t, generator=g),
            gaze=0.1 * normal(t, 2, 2),
            camera=torch.zeros(t, 25),
            eye_openness=torch.full((t, 2), 0.3),
            confidence=torch.ones(t),
        )
        return params.replace(landmarks=params_to_landmarks(model, params))

    return make
