"""Motion between people who are tracked in real videos; skipped where those are absent."""

import os
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from portrayal.data.clips import Clip, clip_table, load_clip_landmarks
from portrayal.face.measure import inter_ocular
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.topology import LEFT_EYE, RIGHT_EYE
from portrayal.motion.compose import head_shape
from portrayal.motion.openings import EYE_PAIRS, gaps
from portrayal.motion.options import RetargetOptions
from portrayal.motion.reference import choose_reference, reference_frame
from portrayal.motion.retarget import retarget
from portrayal.types import Driving, FaceParams

DATA = Path(os.environ.get("PORTRAYAL_DATA", "../shared/data"))
pytestmark = pytest.mark.skipif(
    not (DATA / "clips.csv").is_file(), reason=f"no labelled clips in {DATA} (set PORTRAYAL_DATA)"
)


def validation_clips() -> list[Clip]:
    """One clip of each validation identity."""
    if not (DATA / "clips.csv").is_file():
        return []
    return list({clip.identity: clip for clip in reversed(clip_table(DATA, "validation"))}.values())


def tracked(clip: Clip) -> Driving:
    landmarks, valid = (x[:120] for x in load_clip_landmarks(DATA, clip))
    params = fit_params(
        load_face_model(), torch.from_numpy(landmarks), width=256, height=256, confidence=torch.from_numpy(valid)
    )
    return Driving(params, tuple(Fraction(i, 25) for i in range(len(params))))


@pytest.fixture(scope="module")
def clips() -> list[Driving]:
    return [tracked(clip) for clip in validation_clips()]


def at_rest(clip: Driving) -> FaceParams:
    return clip.params[reference_frame(clip.params)]


def test_a_person_drives_herself_back_to_where_she_was(clips):
    errors = []
    for clip in clips:
        index = reference_frame(clip.params)
        result = retarget(clip.params[index], clip, RetargetOptions(smooth=0, reference=index)).params
        skin = [i for i in range(468) if i not in RIGHT_EYE + LEFT_EYE]
        off = (result.landmarks - clip.params.landmarks)[:, skin, :2].norm(dim=-1).mean(1)
        errors.append((off / inter_ocular(clip.params.landmarks)).median())
    assert max(errors) < 0.001  # of the distance of the outer eye corners


@pytest.mark.parametrize("motion", ["relative", "absolute"])
def test_other_people_stay_themselves_and_nothing_crosses(clips, motion):
    for i, clip in enumerate(clips):
        source = at_rest(clips[(i + 3) % len(clips)])
        result = retarget(source, clip, RetargetOptions(motion=motion)).params
        shape, own = head_shape(result), head_shape(source)
        assert torch.isfinite(result.landmarks).all()
        assert gaps(shape)[:, :EYE_PAIRS, 1].min() > -0.02
        assert gaps(shape)[:, EYE_PAIRS:, 1].min() > min(-0.002, float(gaps(own)[:, EYE_PAIRS:, 1].min()) - 1e-4)
        assert torch.equal(result.identity, source.identity.expand_as(result.identity))
        nose = (shape - own)[:, [1, 4, 6, 168]].norm(dim=-1)
        assert nose.median() < 0.05
        assert ((result.translation - source.translation)[:, :2].abs() <= 1.01 * source.scale).all()


def test_the_reference_is_at_rest(clips):
    for clip in clips:
        chosen = choose_reference(clip.params)
        assert chosen.terms["mouth open"] < 0.25
        assert chosen.terms["eyes"] < 0.35
