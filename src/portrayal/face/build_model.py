"""Build the linear face model from tracked landmarks of the training identities: `portrayal data face-model`.

Expression directions are the principal components of what changes within a clip, after every frame has been carried
rigidly onto the clip's resting face. Identity directions are those of what differs between people (the resting faces
of the clips, and the portraits with their expression taken off). Both see every face and its mirror image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from portrayal.data.clips import Split, clip_table, load_clip_landmarks, load_photo_landmarks, photo_table
from portrayal.errors import InputError
from portrayal.face.camera import FACE_DEPTH
from portrayal.face.gaze import IRISES
from portrayal.face.measure import eye_openness, inter_ocular, mouth_openness
from portrayal.face.morphable import FaceModel, fit_params, params_to_landmarks, save_face_model
from portrayal.face.pose import angles_to_rotation, fit_similarity, picture_to_head, rotation_to_angles
from portrayal.face.topology import (
    LANDMARKS,
    LEFT_EYE,
    LEFT_EYE_CORNERS,
    LEFT_EYELIDS,
    LIPS_INNER,
    LIPS_OUTER,
    MIRROR,
    RIGHT_EYE,
    RIGHT_EYE_CORNERS,
    RIGHT_EYELIDS,
    RIGID,
)
from portrayal.face.triangulate import area_centroid, triangulate_face
from portrayal.types import EXPRESSION_SIZE, IDENTITY_SIZE
from portrayal.weights.registry import git_commit

FRONTAL = 0.2
"""Radians of yaw and pitch up to which a face counts as frontal when the resting irises are averaged."""


@dataclass(frozen=True)
class BuildOptions:
    """What the build can vary."""

    frame_step: int = 2
    """Take every n-th frame of a clip."""
    rounds: int = 4
    """Alternations of alignment, coefficients and bases."""
    depth_weight: float = 0.25
    """Weight of z beside x and y: the tracker's depth is twice as noisy."""
    feature_weight: float = 2.0
    """Weight of the points of the lips and eye contours beside the others."""


def build_face_model(
    data: Path | str,
    out: Path | str | None = None,
    *,
    options: BuildOptions | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> FaceModel:
    """Build the model from the training identities below `data` and write it to `out` (None: only return it).

    Args:
        data: folder as `portrayal.data.clips` reads it.
        out: a .safetensors file; replaced when complete.
        report: called with a line of text after each stage.

    Raises:
        MissingFileError, InputError: where the data cannot be read or has too few faces.
    """
    options = options or BuildOptions()
    clips, photos = load_faces(data, "train", options.frame_step)
    if 2 * (len(clips) + len(photos)) <= IDENTITY_SIZE or 2 * sum(map(len, clips)) <= EXPRESSION_SIZE:
        raise InputError(f"{data}: {len(clips)} clips and {len(photos)} portraits are too few for a face model")
    report(f"{len(clips)} clips ({sum(map(len, clips))} frames) and {len(photos)} portraits")
    weights = _point_weights(options)
    mean = _mean_face(torch.cat([torch.stack([clip[0] for clip in clips]), photos]), options.rounds)
    rest, differences, rigid_weights = _clip_shapes(clips, mean, options.rounds)
    expression = _principal(differences, weights, EXPRESSION_SIZE, [1 / len(d) for d in differences])
    report("expression directions")
    faces = torch.cat([rest, _to_head(photos, mean, rigid_weights)[0]])
    mean, identity = _identity(faces, mean, expression, weights, rigid_weights, options.rounds)
    report("identity directions")
    model = _finish(mean, identity, expression, weights, rigid_weights, clips)
    errors = {split: face_model_errors(model, data, split) for split in ("train", "validation")}
    report(f"error on the validation identities: {errors['validation']}")
    if out is not None:
        training = f"{len(clips)} clips and {len(photos)} portraits of training identities, landmarks of MediaPipe"
        about = {"system": "face", "preset": "face_model", "config": asdict(options), "training_data": training}
        save_face_model(model, out, about | {"metrics": errors, "git_commit": git_commit()})
        report(f"wrote {out}")
    return model


def face_model_errors(model: FaceModel, data: Path | str, split: Split = "validation") -> dict[str, dict[str, float]]:
    """How well the model reproduces landmarks, in percent of the inter-ocular distance (x and y; mean over points).

    Returns:
        For "clips" and "photos": "rigid" (the mean face moved rigidly), "identity" (b = 0), "identity+expression", and
        of the latter "lips", "eyelids", "irises", "with depth" (x, y and z). Identity is shared within a clip.
    """
    clips, photos = load_faces(data, split, frame_step=4)
    both = {"clips": [(clip, True) for clip in clips], "photos": [(photos, False)]}
    return {name: _errors(model, parts) for name, parts in both.items() if sum(len(x) for x, _ in parts)}


def load_faces(data: Path | str, split: Split, frame_step: int = 1) -> tuple[list[Tensor], Tensor]:
    """The valid frames of each clip, (t, 478, 3) each, and the portraits (n, 478, 3), in pixels."""
    clips = []
    for clip in clip_table(data, split):
        landmarks, valid = load_clip_landmarks(data, clip)
        if valid.any():
            clips.append(torch.from_numpy(landmarks[valid][::frame_step]))
    rows = [photo.row for photo in photo_table(data, split)]
    return clips, torch.from_numpy(load_photo_landmarks(data)[rows])


def _errors(model: FaceModel, parts: list[tuple[Tensor, bool]]) -> dict[str, float]:
    sums: dict[str, list[Tensor]] = {}
    for landmarks, shared in parts:
        params = fit_params(model, landmarks, width=256, height=256, shared_identity=shared)
        still = torch.zeros_like(params.expression)
        mean = torch.zeros_like(params.identity)
        variants = {
            "rigid": params.replace(identity=mean, expression=still),
            "identity": params.replace(expression=still),
            "identity+expression": params,
        }
        percent = 100 / inter_ocular(landmarks)[:, None]
        for name, variant in variants.items():
            difference = params_to_landmarks(model, variant) - landmarks
            flat = difference[..., :2].norm(dim=-1) * percent
            sums.setdefault(name, []).append(flat[:, : IRISES[0]].mean(1))
        groups = {"lips": LIPS_INNER + LIPS_OUTER, "eyelids": RIGHT_EYE + LEFT_EYE, "irises": IRISES}
        for name, points in groups.items():
            sums.setdefault(name, []).append(flat[:, list(points)].mean(1))
        deep = difference[:, : IRISES[0]].norm(dim=-1) * percent
        sums.setdefault("with depth", []).append(deep.mean(1))
    return {name: round(float(torch.cat(x).mean()), 3) for name, x in sums.items()}


def _point_weights(options: BuildOptions) -> Tensor:
    """(478, 3), sum 1; the irises count for nothing because they turn with the gaze."""
    weights = torch.ones(LANDMARKS, 3)
    weights[list(LIPS_INNER + LIPS_OUTER + RIGHT_EYE + LEFT_EYE)] = options.feature_weight
    weights[:, 2] *= options.depth_weight
    weights[list(IRISES)] = 0
    return weights / weights.sum()


def _mirror(shapes: Tensor) -> Tensor:
    """(..., 478, 3) head frame, seen in a mirror."""
    return shapes[..., list(MIRROR), :] * shapes.new_tensor([-1, 1, 1])


def _symmetric(shape: Tensor) -> Tensor:
    return (shape + _mirror(shape)) / 2


def _to_head(landmarks: Tensor, shape: Tensor, rigid_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Carry landmarks (t, 478, 3) rigidly onto a shape; also the angles (t, 3) they were turned by."""
    rigid = list(RIGID)
    scale, rotation, translation = fit_similarity(
        shape[..., rigid, :].expand(len(landmarks), -1, -1), landmarks[:, rigid], rigid_weights[rigid]
    )
    return picture_to_head(landmarks, scale, rotation, translation), rotation_to_angles(rotation)


def _mean_face(landmarks: Tensor, rounds: int) -> Tensor:
    """Symmetric mean (478, 3) of (n, 478, 3) by Procrustes analysis; the average face looks straight ahead."""
    ones = torch.ones(LANDMARKS)
    mean = landmarks[0]
    for _ in range(2 * rounds):
        shapes, angles = _to_head(landmarks, mean - mean.mean(0), ones)
        mean = _symmetric(shapes.mean(0))
        mean = mean / inter_ocular(mean)
    pitch = angles[:, 1].median()
    return mean @ angles_to_rotation(torch.stack([pitch * 0, pitch, pitch * 0])).T


def _clip_shapes(clips: list[Tensor], mean: Tensor, rounds: int) -> tuple[Tensor, list[Tensor], Tensor]:
    """Resting faces (n, 478, 3), each clip's differences (t, 478, 3) from its own, weights (478,) of rigid points.

    A rigid point's weight is the inverse of its variance within clips, which the alignment itself changes: iterated.
    """
    rigid_weights = torch.zeros(LANDMARKS)
    rigid_weights[list(RIGID)] = 1 / len(RIGID)
    for _ in range(rounds):
        rest, differences = [], []
        for clip in clips:
            calm = _calm_frames(clip)
            shape = _to_head(clip[calm], mean, rigid_weights)[0].mean(0)
            for _ in range(2):
                aligned, _ = _to_head(clip, shape, rigid_weights)
                shape = aligned[calm].mean(0)
            rest.append(shape)
            differences.append(aligned - shape)
        variance = torch.stack([d.square().sum(-1).mean(0) for d in differences]).mean(0)
        variance = (variance + variance[list(MIRROR)]) / 2
        rigid_weights = torch.where(rigid_weights > 0, 1 / variance, 0)
        rigid_weights = rigid_weights / rigid_weights.sum()
    return torch.stack(rest), differences, rigid_weights


def _calm_frames(clip: Tensor) -> Tensor:
    """Indices of the tenth (at least one) of the frames in which the face is nearest to rest: mouth shut, eyes open."""
    mouth, eyes = mouth_openness(clip), eye_openness(clip).mean(1)
    mouth = (mouth - mouth.min()) / 0.1
    eyes = (eyes - eyes.median()).abs() / 0.1
    return (mouth + eyes).argsort()[: max(1, len(clip) // 10)]


def _principal(groups: list[Tensor], weights: Tensor, count: int, group_weights: list[float]) -> Tensor:
    """Principal directions around zero of shapes and their mirror images, in the metric of the point weights.

    Args:
        groups: shapes (t, 478, 3) that count `group_weights` each. weights: (478, 3) of the points.

    Returns:
        (count, 478, 3), orthogonal in that metric, scaled to unit mean square of the coefficients; at the irises the
        motion of the middle between the eye's corners.
    """
    root = weights.double().sqrt().flatten()
    covariance = torch.zeros(len(root), len(root), dtype=torch.float64)
    for shapes, weight in zip(groups, group_weights, strict=True):
        for x in (shapes, _mirror(shapes)):
            flat = x.flatten(1).double() * root
            covariance += weight / 2 * flat.T @ flat
    values, vectors = torch.linalg.eigh(
        covariance / sum(w * len(g) for w, g in zip(group_weights, groups, strict=True))
    )
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    vectors = vectors * vectors.sum(0).sign()  # either sign is a solution; the same one on every machine
    directions = (vectors * values.sqrt() / root.clamp_min(1e-12)[:, None]).T
    return _irises_with_eyes(directions.float().unflatten(1, (LANDMARKS, 3)))


def _irises_with_eyes(basis: Tensor) -> Tensor:
    """Let the irises move as the middle between the corners of their eye does."""
    basis = basis.clone()
    for irises, corners in ((IRISES[:5], RIGHT_EYE_CORNERS), (IRISES[5:], LEFT_EYE_CORNERS)):
        basis[:, list(irises)] = basis[:, list(corners)].mean(1, keepdim=True)
    return basis


def _identity(
    faces: Tensor, mean: Tensor, expression: Tensor, weights: Tensor, rigid_weights: Tensor, rounds: int
) -> tuple[Tensor, Tensor]:
    """Mean face and identity directions, alternating with the expression that each face (n, 478, 3) wears."""
    people = faces
    identity = expression.new_zeros(IDENTITY_SIZE, LANDMARKS, 3)
    for _ in range(rounds):
        mean = _symmetric(people.mean(0))
        identity = _principal([people - mean], weights, IDENTITY_SIZE, [1.0])
        model = _bare_model(mean, identity, expression, weights, rigid_weights)
        params = fit_params(model, faces, width=1, height=1, shared_identity=False)
        aligned = picture_to_head(faces, params.scale, params.rotation, params.translation)
        people = aligned - (model.shape(params.identity * 0, params.expression) - mean)
    return mean, identity


def _bare_model(mean: Tensor, identity: Tensor, expression: Tensor, weights: Tensor, rigid: Tensor) -> FaceModel:
    """A model without triangles, enough to fit."""
    none = torch.zeros(0, 3, dtype=torch.int64)
    return FaceModel(mean, identity, expression, weights, rigid, none, none, none)


def _finish(
    mean: Tensor, identity: Tensor, expression: Tensor, weights: Tensor, rigid_weights: Tensor, clips: list[Tensor]
) -> FaceModel:
    """Triangles, resting irises, and the final unit and origin."""
    aligned, angles = zip(*(_to_head(clip, mean, rigid_weights) for clip in clips), strict=True)
    shapes, turned = torch.cat(aligned), torch.cat(angles)
    frontal = shapes[turned[:, :2].abs().amax(1) < FRONTAL]
    mean = _resting_irises(mean, frontal if len(frontal) else shapes)
    wide = shapes[(mouth_openness(shapes) > 0.25) & (eye_openness(shapes).amin(1) > 0.25)]
    if len(wide) == 0:
        raise InputError("no frame of the clips shows a wide open mouth and open eyes; add clips of people who talk")
    parts = triangulate_face(_symmetric(wide.mean(0)).double().numpy())
    skin, mouth, eyes = (torch.from_numpy(parts[name]) for name in ("skin", "mouth", "eyes"))
    unit = inter_ocular(mean)
    surface = area_centroid((mean / unit).double().numpy(), np.concatenate(list(parts.values())))
    origin = mean.new_tensor([0, surface[1], surface[2] + FACE_DEPTH])
    return FaceModel(
        mean=mean / unit - origin,
        identity_basis=identity / unit,
        expression_basis=expression / unit,
        point_weights=weights,
        rigid_weights=rigid_weights,
        triangles_skin=skin,
        triangles_mouth=mouth,
        triangles_eyes=eyes,
    )


def _resting_irises(mean: Tensor, frontal: Tensor) -> Tensor:
    """Irises of the mean face: x, y as seen in frontal faces on average, z on the eyelids' rims."""
    mean = mean.clone()
    irises = list(IRISES)
    corners = (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)
    eyes = zip((IRISES[:5], IRISES[5:]), corners, (RIGHT_EYELIDS, LEFT_EYELIDS), strict=True)
    for points, ends, lids in eyes:
        shift = mean[list(ends)].mean(0) - frontal[:, list(ends)].mean((0, 1))
        mean[list(points)] = frontal[:, list(points)].mean(0) + shift
        mean[list(points), 2] = mean[[p for pair in lids for p in pair], 2].mean()
    mean[irises] = _symmetric(mean)[irises]
    return mean
