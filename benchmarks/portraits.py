"""What the benchmarks of several systems share: options, the built-in portrait, sheets of clips, tables of times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from portrayal.data.clips import clip_table
from portrayal.evaluate.dataset import read_dataset
from portrayal.evaluate.entrants import Entrant, reenact
from portrayal.evaluate.metrics_cost import Cost
from portrayal.evaluate.options import EvaluateOptions
from portrayal.evaluate.protocols import Prepared, make_cases, prepare
from portrayal.face.tracker import load_tracker
from portrayal.media.image import UInt8, to_tensor, write_image
from portrayal.source import open_source
from portrayal.types import Portrait

PAIRS = 10
Protocol = Literal["same", "cross"]
Row = tuple[str, int, float]
"""Part, batch, seconds."""


@dataclass
class Options:
    """What is measured."""

    preset: Literal["compact", "paper"] = "compact"
    weights: Path | None = None
    """None: the package's; of compact only."""
    data: Path | None = None
    """Clip folder; with it the pictures are made."""
    images: Path = Path("docs/images")
    size: int = 512
    """Side of the portrait in pixels."""
    threads: int = 2
    repeats: int = 5


def built_in(size: int) -> Portrait:
    """The built-in portrait in a crop of `size`."""
    sitter = open_source(None, tracker=load_tracker("cpu"), face="largest", size=None, crop=True)
    face = sitter.faces[0]
    assert sitter.picture is not None
    matrix = face.crop.matrix * (size / face.crop.size)
    moved = cv2.warpAffine(sitter.picture, matrix, (size, size), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    k = size / face.crop.size
    params = face.params.replace(
        landmarks=face.params.landmarks * k, translation=face.params.translation * k, scale=face.params.scale * k
    )
    return Portrait(to_tensor(np.asarray(moved, np.uint8)), params)


def best(function: Callable[[], object], repeats: int) -> float:
    """Shortest of several runs after one that is not counted, seconds."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def print_times(console: Console, options: Options, side: int, rows: Sequence[Row]) -> None:
    """A table of parts, under the setting; `side` is that of the model's pictures in pixels."""
    table = Table("part", "batch", "ms per picture", "pictures/s")
    for name, batch, seconds in rows:
        table.add_row(name, str(batch), f"{seconds / batch * 1e3:.1f}", f"{batch / seconds:.2f}")
    console.print(f"{options.preset}, {side} x {side}, {options.threads} threads, torch {torch.__version__}")
    console.print(table)


def write_pictures(
    console: Console, options: Options, entrant: Entrant, more: Mapping[str, UInt8] | None = None
) -> None:
    """The two sheets of the validation clips in `options.data`, and more pictures, by name."""
    assert options.data is not None
    protocols: tuple[Protocol, ...] = ("same", "cross")
    sheets = {f"{entrant.name}_{protocol}": sheet(options.data, entrant, protocol) for protocol in protocols}
    for name, picture in {**sheets, **(more or {})}.items():
        path = options.images / f"{name}.jpg"
        write_image(path, picture)
        console.print(f"{path}: {path.stat().st_size // 1000} kB")


def validation_people(data: Path, protocol: Protocol) -> Iterator[Prepared]:
    """One clip or pair for each person as source, nine frames of it."""
    options = EvaluateOptions(frames=9)
    clips = read_dataset(data, layout=options.layout, split=options.split)
    people = {clip.name: clip.identity for clip in clip_table(data, "validation")}
    cases, _ = make_cases(protocol, clips, options)
    tracker = load_tracker("cpu")
    for case in {people[case.source.name]: case for case in cases}.values():
        yield prepare(case, options, tracker=tracker, cache=Path("evaluations/tracks"))


def sheet(data: Path, entrant: Entrant, protocol: Protocol) -> UInt8:
    """Columns of source, driving, result: of each of ten clips the frame that differs most from the source."""
    columns = []
    for prepared in islice(validation_people(data, protocol), PAIRS):
        made = reenact(
            entrant, prepared.sitter, prepared.performance, prepared.frames, options=prepared.animate, cost=Cost()
        )
        rotation = prepared.performance.params.rotation[prepared.frames]
        turned = (rotation - prepared.sitter.faces[0].params.rotation).square().sum((1, 2))
        at = int(turned.argmax())
        column = [
            cv2.resize(p, (192, 192), interpolation=cv2.INTER_AREA)
            for p in (prepared.source, prepared.driving[at], made[at])
        ]
        columns.append(np.concatenate(column))
    half = -(-len(columns) // 2)
    rows = [np.concatenate(columns[i : i + half], 1) for i in range(0, len(columns), half)]
    return np.asarray(np.concatenate(rows), np.uint8)
