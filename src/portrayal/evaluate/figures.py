"""Figures of the papers, each saved as PNG and SVG: the same input gives the same files.

t-SNE of expression codes (Export3D, Fig. 7), error heat maps, metrics over time, pictures along a basis vector
(Export3D, Fig. 8 and S3), canonical faces (MMFA, Fig. 7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from portrayal.errors import InputError
from portrayal.evaluate.entrants import Entrant, render_motion
from portrayal.evaluate.metrics_cost import Cost
from portrayal.face.morphable import load_face_model
from portrayal.media.atomic import complete_or_absent, make_parent
from portrayal.media.image import UInt8, to_uint8
from portrayal.motion.compose import head_shape, recompose
from portrayal.source import Sitter
from portrayal.types import FaceParams

DPI = 120
PANEL = 1.9
"""Inches of a picture in a figure."""


def save_figure(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write <path>.png and <path>.svg; returns both."""
    FigureCanvasAgg(figure)
    files = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.svg")
    make_parent(files[0])
    with matplotlib.rc_context({"svg.hashsalt": "portrayal", "svg.fonttype": "none"}):
        for file in files:
            kind = file.suffix[1:]
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            with complete_or_absent(file) as beside:
                figure.savefig(beside, format=kind, dpi=DPI, metadata=metadata, bbox_inches="tight")
    return files


def plot_tsne(codes: Mapping[str, Tensor], path: Path, *, title: str = "", seed: int = 0) -> tuple[Path, Path]:
    """Codes of several groups, a colour each, in two dimensions (van der Maaten and Hinton 2008).

    Where the colours lie in islands, the codes tell the group: of expression codes by person, that is identity leaking.

    Args:
        codes: (n, c) by name of the group.

    Raises:
        InputError: fewer than five codes, or codes that are not finite.
    """
    from sklearn.manifold import TSNE

    points = torch.cat(list(codes.values())).double().numpy()
    if len(points) < 5 or not np.isfinite(points).all():
        raise InputError(f"t-SNE needs at least five finite codes, got {len(points)}")
    perplexity = min(30.0, (len(points) - 1) / 3)
    placed = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    figure = Figure(figsize=(6, 5))
    axes = figure.add_subplot()
    start, colours = 0, matplotlib.colormaps["tab20"]
    for number, (name, group) in enumerate(codes.items()):
        part = placed[start : start + len(group)]
        axes.scatter(part[:, 0], part[:, 1], s=10, color=colours(number % 20), label=name)
        start += len(group)
    axes.set(xticks=[], yticks=[], title=title)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    return save_figure(figure, path)


def separation(codes: Mapping[str, Tensor]) -> float:
    """How far groups of codes lie apart: Rousseeuw's silhouette in [-1, 1], mean over the codes.

    1: islands; 0: the groups overlap, as expressions without identity do. Not a number for fewer than two groups.
    """
    from sklearn.metrics import silhouette_score

    points = torch.cat(list(codes.values())).double().numpy()
    groups = np.repeat(np.arange(len(codes)), [len(group) for group in codes.values()])
    if not 2 <= len(np.unique(groups)) < len(points):
        return float("nan")
    return float(silhouette_score(points, groups))


def plot_error_maps(
    truth: Sequence[UInt8], generated: Mapping[str, Sequence[UInt8]], path: Path, *, largest: float = 0.5
) -> tuple[Path, Path]:
    """A row per frame: the true picture, and for each system its picture and where it is wrong.

    Args:
        truth: (h, w, 3) each. generated: as many for each system, of the same size.
        largest: mean absolute error over the channels, in [0, 1], that gets the brightest colour.

    Raises:
        InputError: other numbers or sizes of pictures.
    """
    for name, pictures in generated.items():
        if [p.shape for p in pictures] != [t.shape for t in truth]:
            raise InputError(f"{name}: its pictures differ from the true ones in number or size")
    columns = 1 + 2 * len(generated)
    figure = Figure(figsize=(PANEL * columns, PANEL * len(truth)), layout="constrained")
    grid: NDArray[Any] = figure.subplots(len(truth), columns, squeeze=False)
    shown = None
    for row, true in enumerate(truth):
        _picture(grid[row, 0], true, "driving" if row == 0 else "")
        for number, (name, pictures) in enumerate(generated.items()):
            error = np.abs(pictures[row].astype(np.float32) - true).mean(2) / 255
            _picture(grid[row, 1 + 2 * number], pictures[row], name if row == 0 else "")
            shown = grid[row, 2 + 2 * number].imshow(error, cmap="magma", vmin=0, vmax=largest)
            _bare(grid[row, 2 + 2 * number], "error" if row == 0 else "")
    if shown is not None:
        figure.colorbar(shown, ax=grid, shrink=0.6, label="mean absolute error")
    return save_figure(figure, path)


def plot_over_time(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]], path: Path, *, title: str, unit: str = ""
) -> tuple[Path, Path]:
    """A metric over a clip.

    Args:
        series: by system (seconds, numbers), as many of each.
    """
    figure = Figure(figsize=(7, 3))
    axes = figure.add_subplot()
    for name, (times, values) in series.items():
        axes.plot(times, values, label=name, linewidth=1.4, marker="." if len(times) < 40 else None)
    axes.set(xlabel="seconds", ylabel=unit, title=title)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return save_figure(figure, path)


def plot_strips(
    rows: Mapping[str, Sequence[UInt8]], titles: Sequence[str], path: Path, *, title: str = ""
) -> tuple[Path, Path]:
    """Rows of pictures, each with a name, under common titles.

    Raises:
        InputError: rows of unequal lengths.
    """
    if any(len(pictures) != len(titles) for pictures in rows.values()):
        raise InputError(f"every row of a figure needs {len(titles)} pictures")
    figure = Figure(figsize=(PANEL * len(titles), PANEL * len(rows) + 0.3), layout="constrained")
    grid: NDArray[Any] = figure.subplots(len(rows), len(titles), squeeze=False)
    for row, (name, pictures) in enumerate(rows.items()):
        for column, picture in enumerate(pictures):
            _picture(grid[row, column], picture, titles[column] if row == 0 else "")
        grid[row, 0].set_ylabel(name)
    figure.suptitle(title)
    return save_figure(figure, path)


def along_basis(entrant: Entrant, sitter: Sitter, *, vector: int, scales: Sequence[float]) -> list[UInt8]:
    """The source with one expression coefficient changed by each of `scales` (standard deviations).

    Args:
        vector: which coefficient of our face model, from 0.

    Raises:
        InputError: no such coefficient.
    """
    basis = load_face_model().expression_basis
    if not 0 <= vector < len(basis):
        raise InputError(f"there is no expression vector {vector}; they count from 0 to {len(basis) - 1}")
    face = sitter.faces[0].params
    own = head_shape(face)
    parts = [recompose(face, shape=own + scale * basis[vector]) for scale in scales]
    times = [Fraction(i, 25) for i in range(len(parts))]
    return render_motion(entrant, sitter, FaceParams.cat(parts), times, cost=Cost())


@torch.no_grad()
def canonical_faces(entrant: Entrant, sources: Sequence[Any]) -> list[UInt8]:
    """What a system takes each source's face for without pose and expression (MMFA, Fig. 7).

    The system exports `render_canonical(model, source) -> (1, 3, h, w)` and has the capability canonical_face.

    Raises:
        InputError: it has none.
    """
    if "canonical_face" not in entrant.capabilities:
        raise InputError(f"{entrant.name} has no canonical face to show (capability canonical_face)")
    system: Any = entrant.system
    return [to_uint8(system.render_canonical(entrant.model, source))[0] for source in sources]


def _picture(axes: Axes, picture: UInt8, title: str) -> None:
    axes.imshow(picture)
    _bare(axes, title)


def _bare(axes: Axes, title: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)
    for side in axes.spines.values():
        side.set_visible(False)
