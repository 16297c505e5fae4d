"""How far the embedded tracker and the fit of the face model are from the truth, on synthetic heads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from portrayal.data.synthetic import LabelledPicture, synthetic_clips, synthetic_pictures
from portrayal.errors import InputError
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.pose import rotation_to_angles
from portrayal.face.tracker import Tracker, load_tracker
from portrayal.tracking import follow_faces
from portrayal.types import FaceParams, Frame

IRISES = [468, 473]


@dataclass(frozen=True)
class TrackingErrors:
    """Errors over synthetic pictures; angles in degrees, each the mean of absolute errors."""

    pictures: int
    found: float
    """Share of the pictures in which a face was found at the right place; the rest counts nowhere below."""
    landmarks: float
    """Mean distance in percent of the distance of the outer eye corners, in the picture plane."""
    landmarks_median: float
    """Median over the pictures."""
    irises: float
    """The same for the two iris centres."""
    yaw: float
    pitch: float
    roll: float
    gaze: float
    """Mean angle between true and measured gaze, open eyes only."""
    eye_openness: float
    identity: float
    """Root mean square error of the 80 coefficients; predicting 0 for everybody gives about 1."""
    expression: float
    """Root mean square error of the 64 coefficients."""
    expression_truth: float
    """Root mean square of the true ones: the error of predicting 0."""
    identity_shape: float
    """What the identity's error does to the face: root mean square over the points, percent of the eye distance."""
    identity_shape_truth: float
    """The same for predicting 0."""
    expression_shape: float
    expression_shape_truth: float


def tracker_errors_on_synthetic(
    count: int, seed: int, *, size: int = 256, tracker: Tracker | None = None
) -> TrackingErrors:
    """The whole tracker, detection to coefficients, on `count` pictures of different people.

    Args:
        tracker: None loads the embedded one.
    """
    tracker = tracker or load_tracker("cpu")
    pairs = []
    for picture in synthetic_pictures(count, seed=seed, size=size):
        pairs.append((picture.params, _nearest(tracker.track_picture(picture.image), picture)))
    return _summary(pairs)


def fit_errors_on_synthetic(count: int, seed: int, *, size: int = 256, noise_px: float = 0.0) -> TrackingErrors:
    """The fit of the face model alone, on true landmarks.

    Args:
        noise_px: deviation of Gaussian noise added to every coordinate.
    """
    model, random = load_face_model(), torch.Generator().manual_seed(seed)
    pairs: list[tuple[FaceParams, FaceParams | None]] = []
    for picture in synthetic_pictures(count, seed=seed, size=size):
        truth = picture.params
        noisy = truth.landmarks + noise_px * torch.randn(truth.landmarks.shape, generator=random)
        pairs.append((truth, fit_params(model, noisy, width=size, height=size)))
    return _summary(pairs)


def clip_errors_on_synthetic(
    count: int,
    seed: int,
    *,
    frames: int = 40,
    size: int = 256,
    true_landmarks: bool = False,
    tracker: Tracker | None = None,
) -> TrackingErrors:
    """Clips of different people, followed through time with one identity for each clip.

    Args:
        true_landmarks: fit the true landmarks instead of tracking.
        tracker: None loads the embedded one.
    """
    pairs: list[tuple[FaceParams, FaceParams | None]] = []
    for clip in synthetic_clips(count, seed=seed, frames=frames, size=size, clips_per_person=1):
        if true_landmarks:
            fitted = fit_params(load_face_model(), clip.params.landmarks, width=size, height=size)
            pairs += [(clip.params[i], fitted[i]) for i in range(frames)]
            continue
        pictures = (Frame(image, time) for image, time in zip(clip.frames(), clip.times, strict=True))
        tracks = follow_faces(pictures, tracker=tracker or load_tracker("cpu"))
        for i in range(frames):
            seen = [track.params[i] for track in tracks[:1] if track.found[i]]
            close = [p for p in seen if _close(p.landmarks[0], clip.params.landmarks[i])]
            pairs.append((clip.params[i], close[0] if close else None))
    return _summary(pairs)


def _close(points: Tensor, truth: Tensor) -> bool:
    """Landmarks within half an eye distance of the true ones on average: the same face."""
    return float(_distance(points, truth).mean()) < 50


def _nearest(found: list[FaceParams], picture: LabelledPicture) -> FaceParams | None:
    """The measured face that is the true one."""
    truth = picture.params.landmarks[0]
    good = [p for p in found if _close(p.landmarks[0], truth)]
    return min(good, key=lambda p: float(_distance(p.landmarks[0], truth).mean()), default=None)


def _distance(points: Tensor, truth: Tensor) -> Tensor:
    """(478, 3) each to (478,) percent of the distance of the outer eye corners in space."""
    return (points - truth)[:, :2].norm(dim=1) / (truth[33] - truth[263]).norm() * 100


def _summary(pairs: Iterable[tuple[FaceParams, FaceParams | None]]) -> TrackingErrors:
    pairs = list(pairs)
    both = [(truth, found) for truth, found in pairs if found is not None]
    if not both:
        raise InputError(f"the tracker found no face in {len(pairs)} synthetic pictures; give more or larger ones")
    truth, found = (FaceParams.cat(side) for side in zip(*both, strict=True))
    distances = torch.stack([_distance(f, t) for f, t in zip(found.landmarks, truth.landmarks, strict=True)])
    angles = (rotation_to_angles(found.rotation) - rotation_to_angles(truth.rotation)).abs().mean(0).rad2deg()
    is_open = truth.eye_openness > 0.12
    model = load_face_model()
    gaze = _between(found.gaze, truth.gaze)[is_open].rad2deg()

    def rms(x: Tensor) -> float:
        return float(x.square().mean().sqrt())

    def moved(coefficients: Tensor, basis: Tensor) -> float:
        points = torch.einsum("tc,cnd->tnd", coefficients, basis)
        return float(points.square().sum(-1).mean().sqrt()) * 100

    return TrackingErrors(
        pictures=len(pairs),
        found=len(both) / len(pairs),
        landmarks=float(distances.mean()),
        landmarks_median=float(distances.mean(1).median()),
        irises=float(distances[:, IRISES].mean()),
        yaw=float(angles[0]),
        pitch=float(angles[1]),
        roll=float(angles[2]),
        gaze=float(gaze.mean()) if len(gaze) else float(np.nan),
        eye_openness=float((found.eye_openness - truth.eye_openness).abs().mean()),
        identity=rms(found.identity - truth.identity),
        expression=rms(found.expression - truth.expression),
        expression_truth=rms(truth.expression),
        identity_shape=moved(found.identity - truth.identity, model.identity_basis),
        identity_shape_truth=moved(truth.identity, model.identity_basis),
        expression_shape=moved(found.expression - truth.expression, model.expression_basis),
        expression_shape_truth=moved(truth.expression, model.expression_basis),
    )


def _between(a: Tensor, b: Tensor) -> Tensor:
    """(..., 2) yaw and pitch each to (...,) radians between the two directions."""

    def direction(x: Tensor) -> Tensor:
        yaw, pitch = x.unbind(-1)
        return torch.stack([-yaw.sin() * pitch.cos(), pitch.sin(), -yaw.cos() * pitch.cos()], -1)

    return (direction(a) * direction(b)).sum(-1).clamp(-1, 1).acos()
