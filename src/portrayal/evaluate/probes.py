"""Protocols that move one portrait by numbers instead of by a video: what changes, and what should not have changed.

attributes (MMFA 4.3): one attribute is changed; every attribute of the result is measured. What else moves is leakage.
expression-interpolation (MMFA Fig. 8): from the source's expression to a laugh in equal steps; how equal the steps are.
novel-view: the head is orbited; how well identity and head shape stay. For systems with the capability novel_view.
identity-interpolation (OTAvatar supplement 1.2): from one person to another with one motion. For systems with the
capability identity_interpolation, which export `interpolate_identity(model, source, other, share) -> Source`.

Changes are measured between the rendered edit and the rendered source without an edit, so that what the tracker, or the
system, does to every picture alike cancels. copy-source changes nothing: its row is the floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from skimage.data import astronaut
from torch import Tensor

from portrayal.encoding import encode_params, encode_portrait
from portrayal.errors import InputError
from portrayal.evaluate.entrants import COPY_SOURCE, Entrant, render_motion
from portrayal.evaluate.measure import Instruments, measure_faces
from portrayal.evaluate.metrics_cost import Cost
from portrayal.evaluate.statistics import Summary
from portrayal.evaluate.tables import markdown, number
from portrayal.evaluate.view import View
from portrayal.face.pose import rotation_to_angles
from portrayal.face.topology import INNER_LIPS_PAIRS, LEFT_EYE_CORNERS, MOUTH_CORNERS, RIGHT_EYE_CORNERS
from portrayal.media.image import UInt8, to_tensor, to_uint8
from portrayal.motion.compose import head_shape
from portrayal.motion.edit import apply_edit
from portrayal.source import Sitter, portrait_of, sitter_of
from portrayal.types import Edit, FaceParams, move

EDITS: dict[str, Edit] = {
    "none": Edit(),
    "yaw +15": Edit(yaw=math.radians(15)),
    "yaw -15": Edit(yaw=math.radians(-15)),
    "pitch +10": Edit(pitch=math.radians(10)),
    "roll +10": Edit(roll=math.radians(10)),
    "gaze 15": Edit(gaze_x=math.radians(15)),
    "blink": Edit(blink=1.0),
    "mouth open": Edit(mouth_open=0.7),
    "smile": Edit(smile=1.0),
    "brow": Edit(brow=1.0),
}
"""What is changed, one at a time; angles in degrees."""
TARGETS = {
    "yaw +15": "yaw", "yaw -15": "yaw", "pitch +10": "pitch", "roll +10": "roll", "gaze 15": "gaze", "blink": "eyes",
    "mouth open": "mouth", "smile": "expression", "brow": "expression",
}  # fmt: skip
"""Which measured attribute each edit is meant to change."""
ATTRIBUTES = ("yaw", "pitch", "roll", "gaze", "eyes", "mouth", "expression", "identity")
LAUGH = Edit(smile=1.0, mouth_open=0.5, brow=0.5)
STEPS = 9
VIEWS = tuple(math.radians(d) for d in (-30, -20, -10, 0, 10, 20, 30))


@dataclass(frozen=True)
class Probe:
    """One such protocol."""

    heading: str
    explained: str
    needs: str | None
    """Capability without which a system is left out."""
    run: Callable[[Entrant, Sitter, Instruments], tuple[dict[str, float], list[UInt8]]]
    """Numbers of one source, and the rendered pictures in a row."""
    table: Callable[[Mapping[str, Mapping[str, Summary]]], str]
    titles: tuple[str, ...]
    """Of the pictures."""


def _attributes(entrant: Entrant, sitter: Sitter, tools: Instruments) -> tuple[dict[str, float], list[UInt8]]:
    face = sitter.faces[0].params
    edited = FaceParams.cat([apply_edit(face, edit) for edit in EDITS.values()])
    pictures, measured = _render(entrant, sitter, edited, tools)
    got, wanted = attributes(measured), attributes(edited)
    likeness = _likeness(pictures, measured, tools)
    values = {}
    for row, name in enumerate(EDITS):
        if name == "none":
            continue
        for attribute in ATTRIBUTES[:-1]:
            values[f"{name}:{attribute}"] = _change(got[attribute], row)
        values[f"{name}:wanted"] = _change(wanted[TARGETS[name]], row)
        if likeness is not None:
            values[f"{name}:identity"] = 1 - float(likeness[row] / likeness[0].clamp_min(1e-6))
    return values, pictures


def attributes(params: FaceParams) -> dict[str, Tensor]:
    """What an edit may change, (t, n) each: angles in degrees, eye openness, lip gap / mouth width, coefficients."""
    angles = torch.rad2deg(rotation_to_angles(params.rotation))
    shape = head_shape(params)
    (upper, lower), (left, right) = INNER_LIPS_PAIRS[1], MOUTH_CORNERS
    gap = (shape[:, upper] - shape[:, lower]).norm(dim=-1) / (shape[:, left] - shape[:, right]).norm(dim=-1)
    return {
        "yaw": angles[:, :1],
        "pitch": angles[:, 1:2],
        "roll": angles[:, 2:],
        "gaze": torch.rad2deg(params.gaze.mean(1)),
        "eyes": params.eye_openness.mean(1, keepdim=True),
        "mouth": gap[:, None],
        "expression": params.expression,
    }


def _change(values: Tensor, row: int) -> float:
    """Mean absolute difference of a row from the first."""
    return float((values[row] - values[0]).abs().mean())


def _expression(entrant: Entrant, sitter: Sitter, tools: Instruments) -> tuple[dict[str, float], list[UInt8]]:
    face = sitter.faces[0].params
    shares = [i / (STEPS - 1) for i in range(STEPS)]
    path = FaceParams.cat([apply_edit(face, _scaled(LAUGH, share)) for share in shares])
    pictures, measured = _render(entrant, sitter, path, tools)
    images = torch.cat([to_tensor(p) for p in pictures])
    points = head_shape(measured)
    eyes = _eye_distance(points)
    values = {}
    for name, x in (("pixels", images.flatten(1)), ("landmarks", points.flatten(1) / eyes)):
        steps = (x[1:] - x[:-1]).abs().mean(1)
        whole = (x[-1] - x[0]).abs().mean()
        values[f"{name}:moved"] = float(whole)
        if float(steps.mean()) > 1e-5:
            values[f"{name}:largest step"] = float(steps.max() / steps.mean())
            values[f"{name}:detour"] = float(steps.sum() / whole.clamp_min(1e-9))
    return values, pictures


def _scaled(edit: Edit, share: float) -> Edit:
    """A part of an expression edit."""
    return replace(edit, smile=share * edit.smile, mouth_open=share * edit.mouth_open, brow=share * edit.brow)


def _orbit(entrant: Entrant, sitter: Sitter, tools: Instruments) -> tuple[dict[str, float], list[UInt8]]:
    face = sitter.faces[0].params
    views = FaceParams.cat([apply_edit(face, Edit(yaw=yaw)) for yaw in VIEWS])
    pictures, measured = _render(entrant, sitter, views, tools)
    values = {"shape": 100 * float(_spread(head_shape(measured))), **_identity_of(pictures, measured, tools)}
    got, wanted = (torch.rad2deg(rotation_to_angles(p.rotation))[:, 0] for p in (measured, views))
    values["yaw"] = float(((got - got[3]) - (wanted - wanted[3])).abs().mean())
    return values, pictures


def _spread(shape: Tensor) -> Tensor:
    """How far the same landmark of a still head wanders over views, in eye distances."""
    return (shape - shape.mean(0)).norm(dim=-1).mean() / _eye_distance(shape)


def _eye_distance(shape: Tensor) -> Tensor:
    """Between the outer corners, mean over frames."""
    return (shape[:, RIGHT_EYE_CORNERS[0]] - shape[:, LEFT_EYE_CORNERS[0]]).norm(dim=-1).mean()


def _identities(entrant: Entrant, sitter: Sitter, tools: Instruments) -> tuple[dict[str, float], list[UInt8]]:
    system: Any = entrant.system
    assert entrant.model is not None
    other = sitter_of("the built-in portrait", astronaut(), tracker=tools.tracker)
    portraits = [move(portrait_of(one), entrant.device) for one in (sitter, other)]
    ends = [encode_portrait(system, entrant.model, portrait) for portrait in portraits]
    driving = encode_params(system, entrant.model, portraits[0], portraits[0].params, (Fraction(0),))
    driving = move(driving, entrant.device)
    pictures: list[UInt8] = []
    for step in range(STEPS):
        mixed = system.interpolate_identity(entrant.model, *ends, step / (STEPS - 1))
        pictures += [p for batch in system.render(entrant.model, mixed, driving) for p in to_uint8(batch)]
    measured = _measured(pictures, entrant, sitter, tools)
    values = {"expression": float((measured.expression - measured.expression[:1]).abs().mean())}
    if "csim" in tools.metrics:
        embeddings = tools.networks.identity.embed(_view(pictures, measured))
        steps = (embeddings[1:] - embeddings[:-1]).norm(dim=1)
        values["largest step"] = float(steps.max() / steps.mean())
    return values, pictures


def _render(entrant: Entrant, sitter: Sitter, params: FaceParams, tools: Instruments) -> tuple[list[UInt8], FaceParams]:
    """Pictures of the source with its face moved to `params`, and what the tracker measures on them."""
    times = [Fraction(i, 25) for i in range(len(params))]
    pictures = render_motion(entrant, sitter, params, times, cost=Cost())
    return pictures, _measured(pictures, entrant, sitter, tools)


def _measured(pictures: Sequence[UInt8], entrant: Entrant, sitter: Sitter, tools: Instruments) -> FaceParams:
    measured = measure_faces(tools.tracker, pictures)
    if measured is None or bool((measured.confidence <= 0).any()):
        raise InputError(f"{sitter.name}: a picture rendered by {entrant.name} shows no face")
    return measured


def _view(pictures: Sequence[UInt8], params: FaceParams) -> View:
    return View(torch.cat([to_tensor(p) for p in pictures]), params=params)


def _likeness(pictures: Sequence[UInt8], params: FaceParams, tools: Instruments) -> Tensor | None:
    """(t,) cosine similarity of each picture's identity with the first one's; None without an identity network."""
    if "csim" not in tools.metrics:
        return None
    embeddings = tools.networks.identity.embed(_view(pictures, params))
    return embeddings @ embeddings[0]


def _identity_of(pictures: Sequence[UInt8], params: FaceParams, tools: Instruments) -> dict[str, float]:
    """Similarity of the views with the middle one."""
    if "csim" not in tools.metrics:
        return {}
    embeddings = tools.networks.identity.embed(_view(pictures, params))
    middle = len(pictures) // 2
    others = [i for i in range(len(pictures)) if i != middle]
    return {"identity": float((embeddings[others] @ embeddings[middle]).mean())}


def _attribute_table(numbers: Mapping[str, Mapping[str, Summary]]) -> str:
    header = ["edit", "system", "wanted", *ATTRIBUTES]
    rows = []
    for edit, target in TARGETS.items():
        for system, values in numbers.items():
            cells = []
            for attribute in ATTRIBUTES:
                summary = values.get(f"{edit}:{attribute}")
                text = number(summary.mean if summary else None)
                cells.append(f"**{text}**" if attribute == target else text)
            wanted = values.get(f"{edit}:wanted")
            rows.append([edit, system, f"{target} {number(wanted.mean if wanted else None)}", *cells])
    return markdown(header, rows)


def _plain_table(numbers: Mapping[str, Mapping[str, Summary]]) -> str:
    keys = list(dict.fromkeys(key for values in numbers.values() for key in values))
    rows = []
    for system, values in numbers.items():
        cells = []
        for key in keys:
            s = values.get(key)
            cells.append("–" if s is None else f"{number(s.mean)} [{number(s.low)}, {number(s.high)}]")
        rows.append([system, *cells])
    return markdown(["", *keys], rows)


PROBES: dict[str, Probe] = {
    "attributes": Probe(
        "Attribute editing",
        "Mean absolute change of each attribute between the rendered edit and the rendered source: degrees for yaw, "
        "pitch, roll and gaze; lid distance / eye width; lip gap / mouth width; expression coefficients; 1 - cosine of "
        f"identity. Bold: what the edit is meant to change, by as much as `wanted`; all else is leakage. {COPY_SOURCE} "
        "changes nothing.",
        None, _attributes, _attribute_table, tuple(EDITS),
    ),
    "expression-interpolation": Probe(
        "Expression interpolation",
        f"From the source's own expression to a laugh in {STEPS - 1} equal steps. moved: mean absolute change from "
        "end to end (pixels in [0, 1]; landmarks in eye distances); largest step: the largest step / the mean "
        "step, 1 is perfectly even; detour: length of the path / direct distance, 1 is straight.",
        None, _expression, _plain_table, tuple(f"{100 * i // (STEPS - 1)} %" for i in range(STEPS)),
    ),
    "novel-view": Probe(
        "Novel view",
        "Orbit of 30 degrees to both sides. shape: wandering of the landmarks of the still head over the views, % of "
        "the eye distance; identity: cosine similarity with the middle view; yaw: error of the turn in degrees.",
        "novel_view", _orbit, _plain_table, tuple(f"{round(math.degrees(v))}" for v in VIEWS),
    ),
    "identity-interpolation": Probe(
        "Identity interpolation",
        f"From each source to the built-in portrait in {STEPS - 1} equal steps with one motion. largest step: of the "
        "identity embedding / the mean step, 1 is perfectly even; expression: mean absolute change, which should be 0.",
        "identity_interpolation", _identities, _plain_table,
        tuple(f"{100 * i // (STEPS - 1)} %" for i in range(STEPS)),
    ),
}  # fmt: skip
