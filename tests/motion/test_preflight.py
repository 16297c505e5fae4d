"""Findings in plain words, and the reference frame they name."""

from fractions import Fraction

import pytest
import torch

from portrayal.errors import InputError
from portrayal.motion.preflight import Finding, preflight
from portrayal.motion.reference import choose_reference, hold_missing, reference_frame
from portrayal.types import FaceParams

SIZE = (512, 512)


def said(findings: list[Finding], severity: str, words: str) -> bool:
    return any(f.severity == severity and words in f.text for f in findings)


def test_nothing_to_complain_about(person, actor):
    driving = actor(4)
    times = [Fraction(i, 25) for i in range(len(driving))]
    calm = driving.replace(rotation=driving.rotation[:1].expand_as(driving.rotation))
    findings = preflight(person(3), calm, source_size=SIZE, driving_size=SIZE, driving_times=times)
    assert not [f for f in findings if f.severity in ("problem", "warning") and "tremble" not in f.text]
    assert said(findings, "good", "pixels wide")
    assert said(findings, "good", "which works")
    assert any("is the reference for relative motion" in str(f) and " s of 12" in str(f) for f in findings)


@pytest.mark.parametrize(
    ("face", "severity", "words"),
    [
        ({"unit_px": 25.0}, "problem", "blur"),
        ({"unit_px": 60.0}, "warning", "soft"),
        ({"at": (500.0, 256.0)}, "warning", "cut off at the right"),
        ({"at": (256.0, 20.0)}, "warning", "cut off at the top"),
        ({"angles": torch.tensor([[0.6, 0.0, 0.0]])}, "warning", "degrees aside"),
        ({"angles": torch.tensor([[0.0, 0.5, 0.0]])}, "warning", "degrees down"),
        ({"jaw": torch.tensor([0.6])}, "warning", "mouth is open"),
        ({"blink": torch.tensor([1.0])}, "warning", "both eyes are shut"),
    ],
)
def test_what_is_wrong_with_the_source(person, actor, face, severity, words):
    assert said(preflight(person(3, **face), actor(4), source_size=SIZE), severity, words)


def test_covered_or_several_faces(person, actor):
    face = person(3)
    assert said(preflight(face.replace(confidence=torch.tensor([0.7])), actor(4), source_size=SIZE), "warning", "mask")
    assert said(preflight(face.replace(confidence=torch.tensor([0.3])), actor(4), source_size=SIZE), "problem", "hard")
    assert said(preflight(face, actor(4), source_size=SIZE, faces_in_source=3), "note", "3 faces")


def test_what_is_wrong_with_the_driving_face(person, actor):
    source, driving = person(3), actor(4)
    confidence = driving.confidence.clone()
    confidence[3:5] = 0
    findings = preflight(source, driving.replace(confidence=confidence), source_size=SIZE)
    assert said(findings, "warning", "no face was found in 2 of 12 frames")
    none = preflight(source, driving.replace(confidence=0 * confidence), source_size=SIZE)
    assert said(none, "problem", "no face was found in any frame")
    wild = person(4, angles=torch.stack([torch.linspace(0, 0.9, 12), torch.zeros(12), torch.zeros(12)], -1))
    assert said(preflight(source, wild, source_size=SIZE), "problem", "beyond what works")
    generator = torch.Generator().manual_seed(0)
    shaken = driving.replace(landmarks=driving.landmarks[:1] + 3 * torch.randn(12, 478, 3, generator=generator))
    assert said(preflight(source, shaken, source_size=SIZE), "warning", "tremble")
    aside = driving.replace(landmarks=driving.landmarks - torch.tensor([260.0, 0, 0]))
    assert said(preflight(source, aside, source_size=SIZE, driving_size=SIZE), "warning", "leaves the picture")


def test_worst_first(person, actor):
    order = ("problem", "warning", "note", "good")
    bad = person(3, unit_px=25.0, jaw=torch.tensor([0.6]))
    ranks = [order.index(f.severity) for f in preflight(bad, actor(4), source_size=SIZE)]
    assert ranks == sorted(ranks)


def test_the_reference_is_the_neutral_frame_wherever_it_is(person):
    turned = torch.tensor([[0.5, 0, 0], [0.0, 0.3, 0.2], [0.02, 0.01, 0.0], [0.0, 0, 0], [-0.4, 0, 0], [0, 0, 0]])
    clip = person(
        2,
        angles=turned,
        blink=torch.tensor([0.0, 0, 0, 1, 0, 0]),
        jaw=torch.tensor([0.0, 0.3, 0, 0, 0.5, 0.9]),
    )
    assert reference_frame(clip) == 2
    calm = choose_reference(clip[[0, 1, 2, 2, 2, 3, 4, 5]])
    assert calm.index == 3
    assert calm.reason() == "frontal, at rest, eyes open, mouth closed"


def test_the_reference_resembles_the_source(person):
    clip = person(
        2, angles=torch.tensor([[0.0, 0, 0], [0.25, 0, 0], [-0.25, 0, 0]]), smile=torch.tensor([0.0, 0.0, 0.0])
    )
    assert reference_frame(clip) == 0
    assert reference_frame(clip, person(3, angles=torch.tensor([[0.45, 0, 0]]))) == 1
    assert reference_frame(clip, person(3, angles=torch.tensor([[-0.45, 0, 0]]))) == 2


def test_a_frame_without_a_face_is_never_the_reference(person, actor):
    clip = actor(2)
    confidence = clip.confidence.clone()
    confidence[0] = 0
    assert reference_frame(clip.replace(confidence=confidence)) != 0
    with pytest.raises(InputError):
        reference_frame(clip.replace(confidence=0 * confidence))


def test_hold_missing_takes_the_nearest(actor):
    clip = actor(2)
    confidence = torch.tensor([0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0.0])
    held = hold_missing(clip.replace(confidence=confidence))
    index = [2, 2, 2, 3, 3, 3, 7, 7, 8, 9, 10, 10]
    assert isinstance(held, FaceParams)
    assert torch.equal(held.landmarks, clip.landmarks[index])
    assert torch.equal(held.confidence, confidence)
