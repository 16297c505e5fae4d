"""Persons that the tests make up: identities of the face model that act."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from portrayal.face.measure import eye_openness
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.pose import angles_to_rotation, head_to_picture
from portrayal.motion.semantic import act
from portrayal.types import FaceParams

Person = Callable[..., FaceParams]


@pytest.fixture(scope="session")
def person() -> Person:
    """person(seed, ...): frames of one made-up person, measured like tracked landmarks; curves are (t,)."""
    model = load_face_model()

    def make(
        seed: int = 0,
        *,
        angles: Tensor | None = None,
        blink: Tensor | None = None,
        gaze: Tensor | None = None,
        at: tuple[float, float] = (256.0, 256.0),
        unit_px: float = 110.0,
        **actions: Tensor,
    ) -> FaceParams:
        curves = [x for x in (angles, blink, gaze, *actions.values()) if x is not None]
        t = max([len(x) for x in curves], default=1)
        generator = torch.Generator().manual_seed(seed)
        identity = 0.7 * torch.randn(1, 80, generator=generator)
        rest = act(model.shape(identity, torch.zeros(1, 64)), {}, together=torch.ones(1))
        own_gaze, own_eyes = torch.zeros(1, 2, 2), eye_openness(rest)
        openness = own_eyes.expand(t, 2) if blink is None else own_eyes * (1 - blink[:, None])
        looks = own_gaze.expand(t, 2, 2) if gaze is None else gaze[:, None].expand(t, 2, 2)
        shape = act(rest, actions or {"smile": torch.zeros(t)}, openness=openness, gaze=(own_gaze, looks))
        rotation = angles_to_rotation(torch.zeros(t, 3) if angles is None else angles)
        place = torch.tensor([*at, 0.0]).expand(t, 3)
        landmarks = head_to_picture(shape.expand(t, -1, -1), torch.full((t,), unit_px), rotation, place)
        return fit_params(model, landmarks, width=512, height=512)

    return make


@pytest.fixture(scope="session")
def actor(person: Person) -> Callable[..., FaceParams]:
    """actor(seed, t): a person who talks, blinks, turns and looks about; frame 0 is at rest."""

    def make(seed: int = 1, t: int = 12, **place: object) -> FaceParams:
        phase = torch.linspace(0, 2 * torch.pi, t + 1)[:t]
        wave = (1 - phase.cos()) / 2
        return person(
            seed,
            angles=torch.stack([0.3 * phase.sin(), 0.15 * (2 * phase).sin(), 0.1 * phase.sin()], -1),
            blink=(1 - ((phase - torch.pi).abs() / 0.8)).clamp(0, 1),
            gaze=torch.stack([0.2 * phase.sin(), 0.05 * wave], -1),
            jaw=0.6 * wave,
            smile=0.3 * (phase / 2).sin(),
            brow_raise=0.5 * wave,
            **place,
        )

    return make
