"""Rows that the papers published, word for word and digit for digit, to stand beside ours.

Their data, crops and networks are their own, so they tell how large such numbers usually are, not who is better. A row
is a name and its numbers in the order of the table, same-identity columns first; "-" where the table has none.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedTable:
    """One table of a paper, in the columns of `conventions.CONVENTIONS[convention]`."""

    convention: str
    paper: str
    table: str
    data: str
    same_identity: tuple[str, ...]
    """Titles of its columns."""
    cross_identity: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]
    """Numbers as printed, same-identity first."""


def _rows(text: str) -> dict[str, tuple[str, ...]]:
    """One line per row: name | numbers."""
    lines = [line.split("|") for line in text.strip().splitlines()]
    return {name.strip(): tuple(numbers.split()) for name, numbers in lines}


_MMFA = ("LPIPS", "CSIM", "PSNR", "APD", "AKD", "AED", "FID"), ("CSIM", "APD", "AED", "FID")
_EXPORT3D = ("PSNR", "SSIM", "AKD", "CSIM", "AED", "APD"), ("CSIM", "AED", "APD")
_DIRECTIONS = ("CSIM", "LPIPS", "FID", "NME", "Pose", "Exp."), ("CSIM", "Pose", "Exp.")

PUBLISHED: tuple[PublishedTable, ...] = (
    PublishedTable(
        "mmfa", "MMFA", "Table 1", "VoxCeleb", *_MMFA,
        _rows("""
            FOMM         | 0.108 0.965 23.340 0.010 1.300 0.0223 22.755 0.903 0.027 0.0768 105.216
            MRAA         | 0.101 0.970 24.641 0.011 1.209 0.0218 21.397 0.901 0.026 0.0766 87.276
            Face-vid2vid | 0.107 0.972 22.620 0.014 1.486 0.0245 20.092 0.927 0.033 0.0764 86.054
            DaGAN        | 0.094 0.974 24.168 0.011 1.198 0.0210 14.463 0.907 0.023 0.0770 86.012
            LIA          | 0.106 0.967 23.670 0.012 1.391 0.0226 23.992 0.936 0.141 0.0774 83.065
            DPE          | 0.127 0.967 23.481 0.019 1.739 0.0243 29.620 0.887 0.043 0.0763 128.904
            MMFA         | 0.106 0.974 22.898 0.017 1.476 0.0241 13.265 0.925 0.042 0.0762 77.445
        """),
    ),
    PublishedTable(
        "export3d", "Export3D", "Table 1", "VFHQ", *_EXPORT3D,
        _rows("""
            StyleHEAT    | 14.233 0.428 30.406 0.464 0.161 0.139 0.505 0.242 0.136
            DPE          | 23.241 0.750 3.661 0.831 0.083 0.032 0.586 0.253 0.085
            ROME†        | 14.185 0.642 7.281 0.737 0.111 0.051 0.641 0.224 0.074
            OTAvatar†    | 17.441 0.651 11.502 0.662 0.176 0.067 0.610 0.290 0.198
            HiDe-NeRF†   | 21.228 0.728 8.245 0.867 0.106 0.049 0.707 0.255 0.065
            Export3D     | 23.555 0.704 3.453 0.811 0.082 0.030 0.694 0.208 0.080
        """),
    ),
    PublishedTable(
        "export3d", "Export3D", "Table 2", "TalkingHead-1KH", *_EXPORT3D,
        _rows("""
            StyleHEAT    | 15.613 0.517 21.198 0.575 0.148 0.095 0.571 0.218 0.102
            DPE          | 23.201 0.786 4.281 0.807 0.093 0.029 0.714 0.216 0.081
            ROME†        | 15.921 0.695 13.444 0.726 0.123 0.062 0.667 0.201 0.084
            OTAvatar†    | 16.952 0.660 11.615 0.668 0.181 0.063 0.682 0.247 0.150
            HiDe-NeRF†   | 19.759 0.729 5.746 0.843 0.112 0.043 0.757 0.232 0.085
            Export3D     | 23.239 0.797 3.581 0.764 0.092 0.033 0.772 0.204 0.076
        """),
    ),
    PublishedTable(
        "export3d", "Export3D", "Table S1", "VFHQ with background", *_EXPORT3D,
        _rows("""
            ROME         | 8.309 0.400 11.179 0.592 0.123 0.173 0.495 0.236 0.201
            OTAvatar     | 10.667 0.457 15.236 0.492 0.181 0.182 0.492 0.288 0.237
            HiDeNeRF     | 12.254 0.345 22.136 0.354 0.135 0.252 0.408 0.259 0.230
            Export3D     | 23.555 0.704 3.453 0.811 0.082 0.030 0.694 0.208 0.080
        """),
    ),
    PublishedTable(
        "directions", "StyleGAN directions", "Table 1", "VoxCeleb1", *_DIRECTIONS,
        _rows("""
            X2Face        | 0.70 0.13 35.5 17.8 1.5 1.1 0.57 2.2 1.8
            FOMM          | 0.65 0.14 35.6 34.1 5.0 1.6 0.73 7.7 2.3
            Fast Bi-layer | 0.64 0.23 52.8 13.2 1.1 0.9 0.48 1.5 1.6
            Neural-Head   | 0.40 0.22 98.4 15.5 1.3 1.1 0.36 1.7 1.9
            Directions    | 0.66 0.11 35.0 14.1 1.1 0.8 0.63 1.4 1.2
        """),
    ),
    PublishedTable(
        "otavatar", "OTAvatar", "supplement Table 1", "cross-identity, data not named", (),
        ("CSIM", "AED", "APD", "AKD", "FID"),
        _rows("""
            w_x in W      | 0.719 3.352 0.453 4.783 104.6
            w/o code book | 0.662 3.342 0.457 4.974 103.2
            OTAvatar      | 0.694 2.850 0.405 4.307 101.8
        """),
    ),
)  # fmt: skip
"""Main comparisons. † evaluated only on the foreground facial region."""

ABLATIONS: tuple[PublishedTable, ...] = (
    PublishedTable(
        "mmfa", "MMFA", "Table 2", "VoxCeleb", *_MMFA,
        _rows("""
            Base model             | 0.110 0.971 22.694 0.020 1.621 0.0250 16.781 0.925 0.041 0.0764 88.680
            w/ L_Exp               | 0.111 0.971 22.390 0.021 1.684 0.0256 14.681 0.930 0.045 0.0760 84.108
            w/ L_Exp & L_C         | 0.112 0.970 22.480 0.022 1.742 0.0256 16.232 0.932 0.047 0.0760 79.960
            w/ L_Exp, L_C & L_M    | 0.106 0.974 22.898 0.017 1.476 0.0241 13.265 0.925 0.042 0.0759 77.445
        """),
    ),
    PublishedTable(
        "export3d", "Export3D", "Table 3", "VFHQ", *_EXPORT3D,
        _rows("""
            Direct 3DMM       | 23.077 0.688 3.874 0.789 0.105 0.044 0.648 0.209 0.073
            E2E LeBS (n = 25) | 23.105 0.672 3.775 0.745 0.109 0.040 0.670 0.218 0.071
            E2E LeBS (n = 10) | 23.235 0.676 3.755 0.751 0.110 0.038 0.672 0.238 0.079
            E2E LeBS (n = 5)  | 22.631 0.646 4.114 0.658 0.140 0.046 0.632 0.246 0.076
            Full (CLeBS)      | 23.555 0.704 3.453 0.811 0.082 0.030 0.694 0.208 0.080
        """),
    ),
    PublishedTable(
        "directions", "StyleGAN directions", "Table 2", "5K synthetic pairs", ("CSIM", "Pose", "Exp."), (),
        _rows("""
            w/ L_id + L_per  | 0.52 2.4 1.4
            w/o L_id + L_per | 0.42 2.5 1.4
        """),
    ),
    PublishedTable(
        "directions", "StyleGAN directions", "Table 3", "5K synthetic pairs", ("CSIM", "Pose", "Exp."), (),
        _rows("""
            w/ L_eye + L_mouth  | 0.52 2.4 1.4
            w/o L_eye + L_mouth | 0.52 2.6 1.8
        """),
    ),
    PublishedTable(
        "directions", "StyleGAN directions", "Table 4", "VoxCeleb1, small test set", ("CSIM", "Pose", "Exp."), (),
        _rows("""
            synthetic        | 0.60 1.7 1.1
            real & synthetic | 0.63 1.6 1.1
            paired           | 0.66 1.1 0.8
        """),
    ),
    PublishedTable(
        "directions", "StyleGAN directions", "Table 5", "VoxCeleb1, small test set", ("CSIM", "Pose", "Exp."), (),
        _rows("""
            w/o optim.     | 0.45 1.4 1.0
            w/ optim. in G | 0.66 1.1 0.8
        """),
    ),
    PublishedTable(
        "otavatar", "OTAvatar", "supplement Table 1", "cross-identity, data not named", (),
        ("CSIM", "AED", "APD", "AKD", "FID"),
        _rows("""
            w_x in W      | 0.719 3.352 0.453 4.783 104.6
            w/o code book | 0.662 3.342 0.457 4.974 103.2
            OTAvatar      | 0.694 2.850 0.405 4.307 101.8
        """),
    ),
)  # fmt: skip
"""What was left out of a system, and what that cost."""

SELECTION_RATES = {
    "X2Face": "4.5", "FOMM": "16.0", "Fast Bi-layer": "7.0", "Neural-Head": "14.5", "Directions": "58.0",
}  # fmt: skip
"""User study of directions, Table 1: percent of the choices among all methods."""

RATINGS = {
    "FOMM": ("4.1", "5.3"), "PIRender": ("3.5", "4.3"), "StyleHEAT": ("7.4", "5.7"), "HeadNeRF": ("4.6", "3.8"),
    "OTAvatar": ("9.0", "8.5"),
}  # fmt: skip
"""User study of OTAvatar, supplement Table 2: motion and identity, 0 to 10."""
