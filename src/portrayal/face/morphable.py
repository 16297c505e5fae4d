"""The linear face model S = mean + U_id a + U_exp b, and its closed-form fit to landmarks.

Convention: the head frame has the axes of `pose` (x right, y down, nose towards -z). Its unit is the distance of the
outer eye corners of the mean face. Its origin lies on the symmetry plane, `camera.FACE_DEPTH` behind the area centroid
of the mean face's surface (about 6 cm inside the head, where EG3D has its world's origin). Coefficients have unit mean
square on the training faces; a = 0, b = 0 is the mean face at rest: eyes open, mouth nearly shut. In a mirror a
direction either stays the same or changes its sign. The irises are not part of the linear model: they follow the eye
corners and turn with the gaze (`gaze`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from portrayal.errors import InputError, MissingFileError
from portrayal.face.camera import camera_from_pose
from portrayal.face.gaze import IRISES, gaze_to_irises, iris_offsets, landmarks_to_gaze
from portrayal.face.measure import eye_openness as measure_eye_openness
from portrayal.face.pose import fit_similarity, head_to_picture, picture_to_head
from portrayal.face.topology import LANDMARKS
from portrayal.types import EXPRESSION_SIZE, IDENTITY_SIZE, FaceParams
from portrayal.weights.registry import save_tensors

EMBEDDED = Path(__file__).parent.parent / "weights" / "embedded" / "face_model.safetensors"
FORMAT = "portrayal-face-model-1"

RIDGE = 2e-7
"""Variance of the noise that the fit expects in the mean over all points, in squared head units, where a coefficient's
own variance is 1. On the validation clips 1e-6 no longer lets mouths shut, 5e-8 lets noise of the tracker through."""


@dataclass(frozen=True)
class FaceModel:
    """The bases and the weights of the fit. All lengths in head units."""

    mean: Tensor
    """(478, 3) symmetric; the irises look straight ahead."""
    identity_basis: Tensor
    """(80, 478, 3); at the irises the motion of the eye's middle."""
    expression_basis: Tensor
    """(64, 478, 3)."""
    point_weights: Tensor
    """(478, 3) of each coordinate in the linear fit, sum 1, 0 at the irises."""
    rigid_weights: Tensor
    """(478,) of each point in the rigid alignment, 0 except at `topology.RIGID`."""
    triangles_skin: Tensor
    """(n, 3) int64, front faces clockwise in the picture; the openings are left out."""
    triangles_mouth: Tensor
    """(n, 3) int64: the opening inside LIPS_INNER."""
    triangles_eyes: Tensor
    """(n, 3) int64: the openings inside both eye contours."""

    def __post_init__(self) -> None:
        shapes = {
            "mean": (LANDMARKS, 3),
            "identity_basis": (IDENTITY_SIZE, LANDMARKS, 3),
            "expression_basis": (EXPRESSION_SIZE, LANDMARKS, 3),
            "point_weights": (LANDMARKS, 3),
            "rigid_weights": (LANDMARKS,),
        }
        for name, shape in shapes.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"FaceModel.{name} must be {shape}, got {tuple(getattr(self, name).shape)}")

    @property
    def triangles(self) -> Tensor:
        """(898, 3) int64: skin, mouth and eye openings together cover the whole mesh of 468 points."""
        return torch.cat([self.triangles_skin, self.triangles_mouth, self.triangles_eyes])

    @cached_property
    def rigid_points(self) -> Tensor:
        """(n,) indices of the points that the rigid alignment reads."""
        return self.rigid_weights.nonzero()[:, 0]

    @cached_property
    def iris_offsets(self) -> Tensor:
        """(2, 5, 3) irises from each eye's middle in eye widths, see `gaze`."""
        return iris_offsets(self.mean)

    @cached_property
    def solver(self) -> LinearSolver:
        return LinearSolver.prepare(self)

    def shape(self, identity: Tensor, expression: Tensor, gaze: Tensor | None = None) -> Tensor:
        """Points in the head frame.

        Args:
            identity: (t, 80). expression: (t, 64).
            gaze: (t, 2, 2) as in `FaceParams`; None leaves the irises where they look straight ahead.

        Returns:
            (t, 478, 3) head units.
        """
        linear = identity @ self.identity_basis.flatten(1) + expression @ self.expression_basis.flatten(1)
        shape: Tensor = self.mean + linear.unflatten(1, (LANDMARKS, 3))
        if gaze is None:
            return shape
        return torch.cat([shape[:, : IRISES[0]], gaze_to_irises(shape, gaze, self.iris_offsets)], 1)

    def to(self, device: torch.device | str) -> FaceModel:
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass(frozen=True)
class LinearSolver:
    """Precomputed ridge regression of the coefficients on head-frame shapes (S - mean flattened: 1434 numbers)."""

    to_expression: Tensor
    """(64, 1434): b of what the identity leaves."""
    to_identity: Tensor
    """(80, 1434): right-hand side for a, the expression eliminated, in the coordinates of `curvature`."""
    curvature: Tensor
    """(80,) eigenvalues of the normal matrix of a for one frame."""
    rotate_identity: Tensor
    """(80, 80): its eigenvectors as columns."""

    @classmethod
    def prepare(cls, model: FaceModel) -> LinearSolver:
        bases = (model.identity_basis, model.expression_basis)
        identity, expression = (basis.cpu().double().flatten(1) for basis in bases)
        weights = model.point_weights.cpu().double().flatten()
        weighted = expression * weights
        ridge = RIDGE * torch.eye(EXPRESSION_SIZE).to(weighted)
        to_expression = torch.linalg.solve(weighted @ expression.T + ridge, weighted)
        residual = identity * weights - (identity * weights) @ expression.T @ to_expression
        curvature, vectors = torch.linalg.eigh(residual @ identity.T)
        parts = (to_expression, vectors.T @ residual, curvature.clamp_min(0), vectors)
        return cls(*(x.to(model.mean) for x in parts))

    def solve_identity(self, offsets: Tensor, weights: Tensor) -> Tensor:
        """One identity for frames with different expressions.

        Args:
            offsets: (..., t, 1434) S - mean. weights: (..., t) of the frames.

        Returns:
            (..., 80).
        """
        total = (weights[..., None, :] @ offsets)[..., 0, :] @ self.to_identity.T
        return total / (self.curvature * weights.sum(-1, keepdim=True) + RIDGE) @ self.rotate_identity.T

    def solve_expression(self, offsets: Tensor) -> Tensor:
        """(..., 1434) S - mean - U_id a to (..., 64)."""
        return offsets @ self.to_expression.T


def fit_params(
    model: FaceModel,
    landmarks: Tensor,
    *,
    width: int,
    height: int,
    confidence: Tensor | None = None,
    eye_openness: Tensor | None = None,
    shared_identity: bool = True,
    identity: Tensor | None = None,
    rounds: int = 2,
) -> FaceParams:
    """Pose, coefficients, gaze and camera of landmarks, in closed form and differentiable.

    Alternates a weighted similarity on the rigid points with a ridge regression of a and b.

    Args:
        landmarks: (t, 478, 3) pixels of the picture.
        width, height: of the picture in pixels, for the camera.
        confidence: (t,) weight of each frame in a shared identity; None is 1.
        eye_openness: (t, 2) where a network measured it better; None measures the landmarks.
        shared_identity: one identity for all frames (a clip of one face) or one for each (different faces).
        identity: (80,) or (t, 80) known already (streaming); then only pose and expression are fitted.
        rounds: alternations, at least 1; a third changes the error by less than 1 % of it.

    Returns:
        FaceParams with `landmarks` as given.

    Raises:
        InputError: if `landmarks` is not (t, 478, 3) with t >= 1.
    """
    if landmarks.ndim != 3 or landmarks.shape[1:] != (LANDMARKS, 3) or len(landmarks) == 0:
        raise InputError(f"landmarks must be (t, 478, 3) with at least one frame, got {tuple(landmarks.shape)}")
    t = len(landmarks)
    confidence = landmarks.new_ones(t) if confidence is None else confidence.to(landmarks)
    rigid, weights = model.rigid_points, model.rigid_weights[model.rigid_points]
    shape = model.mean.expand(t, -1, -1)
    for _ in range(rounds):
        scale, rotation, translation = _align(shape[:, rigid], landmarks[:, rigid], weights)
        offsets = (picture_to_head(landmarks, scale, rotation, translation) - model.mean).flatten(1)
        a = _solve_identity(model, offsets, confidence, shared_identity) if identity is None else identity.to(offsets)
        a = a.expand(t, -1)
        b = model.solver.solve_expression(offsets - a @ model.identity_basis.flatten(1))
        shape = model.shape(a, b)
    scale, rotation, translation = _align(shape[:, rigid], landmarks[:, rigid], weights)
    return FaceParams(
        landmarks=landmarks,
        identity=a,
        expression=b,
        rotation=rotation,
        translation=translation,
        scale=scale,
        gaze=landmarks_to_gaze(landmarks, shape, scale, rotation, model.iris_offsets),
        camera=camera_from_pose(rotation, translation, scale, width=width, height=height),
        eye_openness=measure_eye_openness(landmarks) if eye_openness is None else eye_openness,
        confidence=confidence,
    )


def params_to_landmarks(model: FaceModel, params: FaceParams) -> Tensor:
    """The inverse of `fit_params`: (t, 478, 3) pixels, irises from the gaze. Reads neither `landmarks` nor `camera`."""
    shape = model.shape(params.identity, params.expression, params.gaze)
    return head_to_picture(shape, params.scale, params.rotation, params.translation)


def _align(shape: Tensor, landmarks: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`fit_similarity` that stays finite for frames without a face, where all points may coincide."""
    scale, rotation, translation = fit_similarity(shape, landmarks, weights)
    return scale.clamp_min(1e-3), rotation, translation


def _solve_identity(model: FaceModel, offsets: Tensor, confidence: Tensor, shared: bool) -> Tensor:
    """(t, 1434) to (1, 80) if shared, else (t, 80)."""
    if not shared:
        return model.solver.solve_identity(offsets[:, None], torch.ones_like(confidence)[:, None])
    # Frames without a face count for nothing, unless there are no others.
    return model.solver.solve_identity(offsets, confidence + 1e-6)[None]


def load_face_model(device: torch.device | str = "cpu", path: Path | str | None = None) -> FaceModel:
    """The face model in the package, or another file made by `portrayal data face-model`.

    Raises:
        MissingFileError, InputError: if the file is not there or not a face model of this version.
    """
    return _load(str(device), Path(path or EMBEDDED))


@lru_cache(maxsize=4)
def _load(device: str, path: Path) -> FaceModel:
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; build it with: portrayal data face-model --data DIR --out FILE")
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("format") != FORMAT:
                raise InputError(f"{path} is not a face model of this version ({FORMAT}); build it again")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        with torch.inference_mode(False):  # whoever asks first, the cached parts must serve gradients later
            tensors = {k: x.float() if x.is_floating_point() else x.long() for k, x in tensors.items()}
            model = FaceModel(**{k: x.clone() for k, x in tensors.items()}).to(device)
            _ = model.solver, model.rigid_points, model.iris_offsets
        return model
    except InputError:
        raise
    except (SafetensorError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a face model ({error}); build it again") from error


def save_face_model(model: FaceModel, path: Path | str, metadata: Mapping[str, object]) -> None:
    """Write bases as fp16, the mean and the weights as fp32; values of `metadata` that are no text become JSON.

    `path` is replaced when all is written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    halves = {"identity_basis", "expression_basis"}
    tensors = {}
    for field in fields(model):
        x = getattr(model, field.name).detach().cpu()
        x = x.short() if not x.is_floating_point() else x.half() if field.name in halves else x.float()
        tensors[field.name] = x.contiguous()
    about = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    save_tensors(path, tensors, {"format": FORMAT, "licence": "Apache-2.0"} | about)
