"""Every metric by name. Adding one is a class in a `metrics_*` module and an entry here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from portrayal.errors import InputError
from portrayal.evaluate.metrics_base import ViewMetric
from portrayal.evaluate.metrics_cost import Cost
from portrayal.evaluate.metrics_distribution import Frechet, Fvd, Kernel
from portrayal.evaluate.metrics_face import (
    DIRECTIONS_EXPRESSIONS,
    AedExpression,
    AedIdentity,
    Akd,
    AngleError,
    Apd,
    Csim,
    EyeOpennessError,
    GazeError,
    Nme,
)
from portrayal.evaluate.metrics_image import L1, LpipsDistance, MsSsim, Psnr, Ssim, TrackerPerceptual
from portrayal.evaluate.metrics_temporal import Flicker, IdentityDrift, LandmarkJitter
from portrayal.evaluate.networks import Networks

Against = Literal["target", "driving", "source", "itself"]
"""What generated frames are compared with: the true frames of the same person, the driving frames (the same thing when
the person drives herself), the source picture, or nothing else."""


@dataclass(frozen=True)
class Entry:
    """One metric as tables and help show it."""

    title: str
    definition: str
    source: str
    unit: str
    """Empty for pure numbers."""
    better: Literal["higher", "lower"]
    against: Against
    build: Callable[[Networks], ViewMetric] | None = None
    """None for what is read from a `Cost`."""
    read: Callable[[Cost], float] | None = None

    @property
    def arrow(self) -> str:
        return "↑" if self.better == "higher" else "↓"


METRICS: dict[str, Entry] = {
    "psnr": Entry(
        "PSNR", "peak signal-to-noise ratio of a frame's pixels in [0, 1], mean over frames",
        "MMFA B.1, Export3D 4.3", "dB", "higher", "target", lambda n: Psnr(),
    ),
    "ssim": Entry(
        "SSIM", "structural similarity, Gaussian window 11, sigma 1.5, mean over channels",
        "Wang et al. 2004; Export3D 4.3", "", "higher", "target", lambda n: Ssim(),
    ),
    "ms_ssim": Entry(
        "MS-SSIM", "structural similarity over five scales",
        "Wang et al. 2003", "", "higher", "target", lambda n: MsSsim(),
    ),
    "l1": Entry(
        "L1", "mean absolute difference of the pixels in [0, 1]",
        "FOMM", "", "lower", "target", lambda n: L1(),
    ),
    "lpips_alex": Entry(
        "LPIPS", "learned perceptual distance 0.1 on AlexNet",
        "Zhang et al. 2018; MMFA B.1, directions 4.1", "", "lower", "target",
        lambda n: LpipsDistance(n.lpips("alex")),
    ),
    "lpips_vgg": Entry(
        "LPIPS (VGG)", "learned perceptual distance 0.1 on VGG16",
        "Zhang et al. 2018", "", "lower", "target", lambda n: LpipsDistance(n.lpips("vgg")),
    ),
    "lpips_squeeze": Entry(
        "LPIPS (Squeeze)", "learned perceptual distance 0.1 on SqueezeNet",
        "Zhang et al. 2018", "", "lower", "target", lambda n: LpipsDistance(n.lpips("squeeze")),
    ),
    "perceptual_tracker": Entry(
        "Perceptual (tracker)", "squared difference of unit-length features of the embedded tracker; not LPIPS",
        "this project", "", "lower", "target", lambda n: TrackerPerceptual(n.tracker_maps),
    ),
    "fid": Entry(
        "FID", "Frechet distance of Inception features of all frames",
        "Heusel et al. 2017; MMFA B.1, directions 4.1", "", "lower", "target",
        lambda n: Frechet(*n.picture_features),
    ),
    "kid": Entry(
        "KID", "squared kernel distance of Inception features of all frames",
        "Binkowski et al. 2018", "", "lower", "target", lambda n: Kernel(n.picture_features[0]),
    ),
    "fvd": Entry(
        "FVD", "Frechet distance of I3D features of windows of 16 frames",
        "Unterthiner et al. 2018", "", "lower", "target", lambda n: Fvd(*n.video_features),
    ),
    "frechet_tracker": Entry(
        "Frechet (tracker)", "Frechet distance of mean features of the embedded tracker; not FID",
        "this project", "", "lower", "target", lambda n: Frechet(*n.tracker_features),
    ),
    "frechet_identity": Entry(
        "Frechet (MobileFaceNet)", "Frechet distance of mean features of MobileFaceNet on whole frames; not FID",
        "this project", "", "lower", "target", lambda n: Frechet(*n.mobilefacenet_features),
    ),
    "kernel_tracker": Entry(
        "Kernel (tracker)", "squared kernel distance of mean features of the embedded tracker; not KID",
        "this project", "", "lower", "target", lambda n: Kernel(n.tracker_features[0]),
    ),
    "csim": Entry(
        "CSIM", "cosine similarity of identity embeddings",
        "MMFA B.1, Export3D supplement 1.5, directions 4.1", "", "higher", "source", lambda n: Csim(n.identity),
    ),
    "aed_identity": Entry(
        "AED (identity)", "Euclidean distance of identity embeddings of length 1",
        "MMFA B.1", "", "lower", "source", lambda n: AedIdentity(n.identity),
    ),
    "aed_identity_l1": Entry(
        "AED (identity, L1)", "mean absolute difference of the numbers of identity embeddings of length 1",
        "FOMM's published script", "", "lower", "source", lambda n: AedIdentity(n.identity, "mean_l1"),
    ),
    "akd": Entry(
        "AKD", "mean distance of 68 points at 256 x 256",
        "MMFA B.1", "px", "lower", "driving", lambda n: Akd("euclidean"),
    ),
    "akd_l1": Entry(
        "AKD (L1)", "mean absolute difference of the coordinates of 68 points at 256 x 256",
        "FOMM's published script; Export3D supplement 1.5", "px", "lower", "driving", lambda n: Akd("mean_l1"),
    ),
    "nme": Entry(
        "NME", "mean distance of 68 points / sqrt of the true face box's area, x 1000",
        "directions 4.1", "x 1000", "lower", "driving", lambda n: Nme(),
    ),
    "pose_degrees": Entry(
        "Pose", "mean absolute difference of yaw, pitch and roll",
        "directions 4.1", "deg", "lower", "driving", lambda n: AngleError(),
    ),
    "apd": Entry(
        "APD", "mean absolute difference of six pose numbers: angles in radians, place in decimetres",
        "MMFA B.1, Export3D supplement 1.5", "", "lower", "driving", lambda n: Apd(),
    ),
    "apd_angles": Entry(
        "APD (angles)", "mean absolute difference of yaw, pitch and roll",
        "MMFA B.1, without the place", "rad", "lower", "driving", lambda n: Apd(angles_only=True),
    ),
    "apd_euclidean": Entry(
        "APD (Euclidean)", "length of the difference of the six pose numbers of APD",
        "OTAvatar, inferred from its magnitudes", "", "lower", "driving", lambda n: Apd("euclidean"),
    ),
    "aed_expression": Entry(
        "AED (expression)", "mean absolute difference of 64 expression coefficients",
        "Export3D supplement 1.5", "", "lower", "driving", lambda n: AedExpression(),
    ),
    "aed_expression_euclidean": Entry(
        "AED (expression, Euclidean)", "length of the difference of 64 expression coefficients",
        "OTAvatar, inferred from its magnitudes", "", "lower", "driving",
        lambda n: AedExpression(norm="euclidean"),
    ),
    "exp": Entry(
        "Exp.", "mean absolute difference of the first 12 expression coefficients",
        "directions 4.1", "", "lower", "driving", lambda n: AedExpression(DIRECTIONS_EXPRESSIONS),
    ),
    "gaze_error": Entry(
        "Gaze", "angle between the eyes' directions relative to the head, mean of both eyes",
        "this project", "deg", "lower", "driving", lambda n: GazeError(),
    ),
    "eye_openness_error": Entry(
        "Eye openness", "absolute difference of lid distance / eye width, mean of both eyes",
        "this project", "", "lower", "driving", lambda n: EyeOpennessError(),
    ),
    "landmark_jitter": Entry(
        "Jitter", "median over frames of the landmarks' mean distance from even motion",
        "this project", "% of inter-ocular distance", "lower", "itself", lambda n: LandmarkJitter(),
    ),
    "flicker": Entry(
        "Flicker", "mean squared change of pixels along the true video's optical flow, x 1000",
        "warping error of Lai et al. 2018", "x 1000", "lower", "target", lambda n: Flicker(),
    ),
    "identity_drift": Entry(
        "Identity drift", "1 - cosine of identity embeddings with the clip's first frame, mean over later frames",
        "this project", "", "lower", "itself", lambda n: IdentityDrift(n.identity),
    ),
    "frames_per_second": Entry(
        "Speed", "frames rendered per second of wall clock",
        "this project", "frames/s", "higher", "itself", read=lambda cost: cost.frames_per_second,
    ),
    "peak_memory": Entry(
        "Memory", "most memory taken: by tensors on a GPU, by the whole process on a CPU",
        "this project", "MB", "lower", "itself", read=lambda cost: cost.peak_megabytes,
    ),
}  # fmt: skip


def build_metrics(names: Iterable[str], networks: Networks) -> dict[str, ViewMetric]:
    """Fresh metrics, on the networks' device (their sums on the CPU where the device has no float64).

    Those read from a `Cost` are left out.

    Raises:
        InputError: no such metric, or the weights of one are not installed (the message names the command).
    """
    chosen = {name: find_metric(name) for name in names}
    metrics = {name: entry.build(networks) for name, entry in chosen.items() if entry.build}
    if networks.device.type == "mps":
        return metrics
    return {name: metric.to(networks.device) for name, metric in metrics.items()}


def available_metrics(networks: Networks) -> tuple[list[str], dict[str, str]]:
    """Names of the metrics whose weights are installed, and name -> reason of the others."""
    there, missing = [], {}
    for name in METRICS:
        try:
            build_metrics([name], networks)
        except InputError as error:
            missing[name] = str(error)
        else:
            there.append(name)
    return there, missing


def find_metric(name: str) -> Entry:
    """
    Raises:
        InputError: no such metric.
    """
    if name not in METRICS:
        raise InputError(f"there is no metric {name!r}; choose from: {', '.join(METRICS)}")
    return METRICS[name]


def metrics_table() -> str:
    """`METRICS` as a Markdown table: key, what it is, unit, which way is better, compared with, source."""
    head = "| name | metric | definition | unit | better | compared with | source |\n|---|---|---|---|---|---|---|\n"
    rows = [
        f"| `{name}` | {e.title} | {e.definition} | {e.unit} | {e.better} | {e.against} | {e.source} |\n"
        for name, e in METRICS.items()
    ]
    return head + "".join(rows)
