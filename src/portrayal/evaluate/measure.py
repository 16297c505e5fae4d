"""One rendered case measured: faces tracked in the generated and true frames, every metric that fits, one number each.

Numbers are kept under "<metric>@<against>", for example "csim@source" and "csim@target": the papers compare the same
metric with different things. In same-identity evaluation the driving frames are the target. Faces of generated and
true frames are measured alike, frame by frame, so that the tracker favours neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from portrayal.errors import InputError
from portrayal.evaluate.conventions import CONVENTIONS
from portrayal.evaluate.metrics import METRICS, available_metrics, build_metrics
from portrayal.evaluate.metrics_base import ClipMetric, ViewMetric
from portrayal.evaluate.metrics_distribution import Frechet, Kernel
from portrayal.evaluate.metrics_temporal import IdentityDrift
from portrayal.evaluate.networks import Networks, detect_points68
from portrayal.evaluate.protocols import Prepared, stretches, times_of
from portrayal.evaluate.view import View
from portrayal.face.topology import FACE_OVAL
from portrayal.face.tracker import FaceReading, Tracker
from portrayal.media.image import UInt8
from portrayal.tracking import nearest
from portrayal.types import FaceParams

SUBSTITUTES = {"lpips_alex": "perceptual_tracker", "fid": "frechet_tracker", "kid": "kernel_tracker"}
"""What stands in a paper's column, under its own name, where the weights of its metric are not installed."""


@dataclass(frozen=True)
class Instruments:
    """The tracker and every metric whose weights are there."""

    tracker: Tracker
    networks: Networks
    metrics: dict[str, ViewMetric]
    missing: dict[str, str]
    """Metrics that cannot be measured here, and why."""
    notes: tuple[str, ...]
    """What measured identity and the 68 points."""

    @classmethod
    def load(cls, tracker: Tracker, device: torch.device) -> Instruments:
        networks = Networks(device)
        names, missing = available_metrics(networks)
        names = [name for name in names if METRICS[name].build and name != "fvd"]
        notes = [f"Identity: {networks.identity.name}." if "csim" in names else f"No identity: {missing['csim']}"]
        try:
            notes.append("68 points: 2D-FAN." if networks.fan else "")
        except InputError:
            notes.append("68 points: nearest points of the tracked mesh (2D-FAN is not installed).")
        return cls(tracker, networks, build_metrics(names, networks), missing, tuple(notes))

    def wanted(self, protocol: Literal["same", "cross"]) -> list[tuple[str, str]]:
        """(metric, against) of a protocol: every metric as it is meant, and every column of the papers' tables."""
        pairs = [(name, METRICS[name].against) for name in self.metrics]
        for convention in CONVENTIONS.values():
            columns = convention.same_identity if protocol == "same" else convention.cross_identity
            pairs += [(c.metric, c.against) for c in columns]
            pairs += [(SUBSTITUTES[c.metric], c.against) for c in columns if c.metric in SUBSTITUTES]
        there = [(name, resolve(name, against, protocol)) for name, against in pairs if name in self.metrics]
        return [p for p in dict.fromkeys(there) if not (protocol == "cross" and p[1] == "target")]

    def has_fan(self) -> bool:
        return any("2D-FAN." in note for note in self.notes)

    def view(self, name: str, frames: Sequence[UInt8], *, white: bool) -> View:
        """Pictures alone; tracked only where everything but the face is to be painted white."""
        images = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float().div(255).to(self.networks.device)
        view = View(images, clip=name)
        if not white:
            return view
        params = measure_faces(self.tracker, frames)
        mask = images[:, :1] * 0 if params is None else face_mask(params, *view.size).to(images)
        return view.replace(images=images * mask + (1 - mask), mask=mask, params=params)

    def tracked_view(self, name: str, frames: Sequence[UInt8], times: Sequence[float], *, white: bool) -> View:
        """Pictures with their faces, and, where every picture shows one, what several metrics share."""
        view = self.view(name, frames, white=white)
        params = view.params if white else measure_faces(self.tracker, frames)
        view = view.replace(params=params, times=tuple(times))
        if params is None or bool((params.confidence <= 0).any()):
            return view
        if self.has_fan():
            view = detect_points68(self.networks.fan, view)
        if "csim" in self.metrics:
            view = view.replace(embedding=self.networks.identity.embed(view))
        return view


def resolve(metric: str, against: str, protocol: str) -> str:
    """In same-identity evaluation the driving frames are the target.

    In cross-identity evaluation there is none; flicker is measured along the generated frames' own motion.
    """
    if protocol == "cross" and metric == "flicker":
        return "itself"
    return "target" if protocol == "same" and against == "driving" else against


def is_of_a_set(metric: ViewMetric) -> bool:
    """Whether it is a number of all clips together, as FID is."""
    return isinstance(metric, Frechet | Kernel)


@dataclass
class Measured:
    """The numbers of one case."""

    values: dict[str, float] = field(default_factory=dict)
    """By "<metric>@<against>"."""
    notes: list[str] = field(default_factory=list)
    """What could not be measured and why."""


@dataclass(frozen=True)
class Views:
    """What metrics see of one case."""

    generated: View
    driving: View
    source: View

    def against(self, what: str) -> View:
        return {"target": self.driving, "driving": self.driving, "source": self.source, "itself": self.generated}[what]

    def pick(self, positions: Sequence[int], name: str | None = None) -> Views:
        at = list(positions)
        return Views(pick_view(self.generated, at, name), pick_view(self.driving, at, name), self.source)


def make_views(prepared: Prepared, generated: Sequence[UInt8], instruments: Instruments, *, white: bool) -> Views:
    """Track everything and compute what several metrics share.

    Args:
        generated: (h, w, 3) for each of `prepared.frames`.
        white: everything but the face painted white.
    """
    name, times = prepared.case.name, times_of(prepared)
    parts = (
        (f"{name}, generated", generated, times),
        (f"{name}, driving", prepared.driving, times),
        (f"{name}, source", [prepared.source], (0.0,)),
    )
    return Views(*[instruments.tracked_view(label, frames, at, white=white) for label, frames, at in parts])


def measure_faces(tracker: Tracker, frames: Sequence[UInt8]) -> FaceParams | None:
    """The largest face of each picture, found anew in each; confidence 0 where there is none, None if never."""
    found = [(i, reading[0]) for i, reading in enumerate(tracker.find(frame) for frame in frames) if len(reading)]
    if not found:
        return None
    h, w = frames[0].shape[:2]
    params = tracker.fit(FaceReading.cat([reading for _, reading in found]), w, h)
    seen = torch.tensor([i for i, _ in found])
    held = params[nearest(seen, len(frames))]
    there = torch.zeros(len(frames)).index_fill(0, seen, 1.0)
    return held.replace(confidence=held.confidence * there)


def face_mask(params: FaceParams, height: int, width: int) -> torch.Tensor:
    """(t, 1, h, w) 1 on the face: the outline of the landmarks. For tables of methods without a background."""
    import cv2

    masks = np.zeros((len(params), height, width), np.uint8)
    for mask, points in zip(masks, params.landmarks[:, list(FACE_OVAL), :2].numpy(), strict=True):
        cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    return torch.from_numpy(masks).float()[:, None]


def measure_case(
    views: Views, frames: Sequence[int], wanted: Iterable[tuple[str, str]], instruments: Instruments
) -> Measured:
    """Every number of one case but those of whole sets.

    A metric that needs a face is measured on the frames in which both clips show one; what that leaves out is noted.

    Args:
        frames: numbers of the frames in their video, which tell neighbours.
    """
    done = Measured()
    faces = _frames_with_faces(views)
    if len(faces) < len(frames):
        done.notes.append(f"{len(frames) - len(faces)} of {len(frames)} frames without a face in one of the clips")
    for name, against in wanted:
        metric = instruments.metrics[name]
        if is_of_a_set(metric):
            continue
        try:
            done.values[f"{name}@{against}"] = _measure(metric, views, frames, faces, against)
        except InputError as error:
            done.notes.append(f"{name}: {error}")
    return done


def _measure(metric: ViewMetric, views: Views, frames: Sequence[int], faces: list[int], against: str) -> float:
    """One metric; on all frames, or, where it asks for faces that are not there, on those that show them."""
    try:
        return _run(metric, views, frames, against)
    except InputError:
        if not faces or len(faces) == len(frames):
            raise
        return _run(metric, views.pick(faces), [frames[i] for i in faces], against)


def _run(metric: ViewMetric, views: Views, frames: Sequence[int], against: str) -> float:
    metric.reset()
    runs = stretches(frames) if isinstance(metric, ClipMetric) and not isinstance(metric, IdentityDrift) else [[]]
    for number, run in enumerate(runs):
        part = views.pick(run, f"{views.generated.clip} ({number})") if run else views
        metric.update(part.generated, part.against(against))
    return float(metric.compute())


def _frames_with_faces(views: Views) -> list[int]:
    there = torch.ones(len(views.generated), dtype=torch.bool)
    for view in (views.generated, views.driving):
        there &= torch.zeros_like(there) if view.params is None else view.params.confidence > 0
    return there.nonzero()[:, 0].tolist()


def pick_view(view: View, positions: list[int], name: str | None = None) -> View:
    """Some frames of a view."""
    params = None if view.params is None else view.params[positions]
    times = None if view.times is None else tuple(view.times[i] for i in positions)
    tensors = {k: getattr(view, k) for k in ("points68", "embedding", "mask")}
    picked = {k: None if v is None else v[positions] for k, v in tensors.items()}
    return View(view.images[positions], clip=name or view.clip, params=params, times=times, **picked)
