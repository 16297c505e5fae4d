"""What each paper's tables call which metric, and what it compares with.

The definitions are the papers'. Their numbers come from their own networks: Deep3DFaceRecon or DECA for pose and
expression, face-alignment for the 68 points, OpenFace for MMFA's AED. Ours come from the embedded tracker and the
identity network of the run unless those are given; systems compare within one table, and with published rows only where
the same networks were used.
"""

from __future__ import annotations

from dataclasses import dataclass

from portrayal.errors import InputError
from portrayal.evaluate.metrics import METRICS, Against, Entry


@dataclass(frozen=True)
class Column:
    """One column of a paper's table."""

    title: str
    """The paper's word."""
    metric: str
    """Key of `METRICS`."""
    against: Against

    @property
    def entry(self) -> Entry:
        return METRICS[self.metric]


@dataclass(frozen=True)
class Convention:
    """The columns of a paper's tables, in its order."""

    paper: str
    same_identity: tuple[Column, ...]
    cross_identity: tuple[Column, ...]
    notes: tuple[str, ...] = ()


CONVENTIONS: dict[str, Convention] = {
    "mmfa": Convention(
        "MMFA, Table 1 and B.1",
        same_identity=(
            Column("LPIPS", "lpips_alex", "target"),
            Column("CSIM", "csim", "target"),
            Column("PSNR", "psnr", "target"),
            Column("APD", "apd", "target"),
            Column("AKD", "akd_l1", "target"),
            Column("AED", "aed_identity", "target"),
            Column("FID", "fid", "target"),
        ),
        cross_identity=(
            Column("CSIM", "csim", "source"),
            Column("APD", "apd", "driving"),
            Column("AED", "aed_identity", "source"),
            Column("FID", "fid", "source"),
        ),
        notes=(
            "AED is the Euclidean distance of B.1; the magnitudes of its Table 1 are those of aed_identity_l1.",
            "AKD follows FOMM's published script, which B.1 cites.",
            "LPIPS leaves the network open (VGG or AlexNet); AlexNet is taken.",
        ),
    ),
    "export3d": Convention(
        "Export3D, Tables 1 to 3 and supplement 1.5",
        same_identity=(
            Column("PSNR", "psnr", "target"),
            Column("SSIM", "ssim", "target"),
            Column("AKD", "akd_l1", "target"),
            Column("CSIM", "csim", "source"),
            Column("AED", "aed_expression", "driving"),
            Column("APD", "apd", "driving"),
        ),
        cross_identity=(
            Column("CSIM", "csim", "source"),
            Column("AED", "aed_expression", "driving"),
            Column("APD", "apd", "driving"),
        ),
    ),
    "directions": Convention(
        "StyleGAN directions, Table 1 and Sec. 4.1",
        same_identity=(
            Column("CSIM", "csim", "target"),
            Column("LPIPS", "lpips_alex", "target"),
            Column("FID", "fid", "target"),
            Column("NME", "nme", "target"),
            Column("Pose", "pose_degrees", "target"),
            Column("Exp.", "exp", "target"),
        ),
        cross_identity=(
            Column("CSIM", "csim", "source"),
            Column("Pose", "pose_degrees", "driving"),
            Column("Exp.", "exp", "driving"),
        ),
    ),
    "otavatar": Convention(
        "OTAvatar, supplement Table 1",
        same_identity=(
            Column("CSIM", "csim", "source"),
            Column("AED", "aed_expression_euclidean", "target"),
            Column("APD", "apd_euclidean", "target"),
            Column("AKD", "akd", "target"),
            Column("FID", "fid", "target"),
        ),
        cross_identity=(
            Column("CSIM", "csim", "source"),
            Column("AED", "aed_expression_euclidean", "driving"),
            Column("APD", "apd_euclidean", "driving"),
            Column("AKD", "akd", "driving"),
            Column("FID", "fid", "driving"),
        ),
        notes=(
            "The published table is of cross-identity reenactment and does not define its columns; its AED (about 3) "
            "and APD (about 0.4) have the magnitude of lengths, ten times Export3D's AED on such coefficients.",
        ),
    ),
}


def find_convention(name: str) -> Convention:
    """
    Raises:
        InputError: no such convention.
    """
    if name not in CONVENTIONS:
        raise InputError(f"there is no convention {name!r}; choose from: {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def conventions_table() -> str:
    """`CONVENTIONS` as a Markdown table: the paper's word -> metric, and what it compares with."""
    rows = ["| convention | same identity | cross identity |", "|---|---|---|"]
    for name, convention in CONVENTIONS.items():
        cells = [
            ", ".join(f"{c.title} = `{c.metric}` ({c.against})" for c in columns)
            for columns in (convention.same_identity, convention.cross_identity)
        ]
        rows.append(f"| `{name}`: {convention.paper} | {cells[0]} | {cells[1]} |")
    return "\n".join(rows) + "\n"
