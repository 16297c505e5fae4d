"""What the benchmarks of several systems share: the built-in portrait, sheets of clips, the best of some runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from portrayal.data.clips import clip_table
from portrayal.evaluate.dataset import read_dataset
from portrayal.evaluate.entrants import Entrant, reenact
from portrayal.evaluate.metrics_cost import Cost
from portrayal.evaluate.options import EvaluateOptions
from portrayal.evaluate.protocols import make_cases, prepare
from portrayal.face.tracker import load_tracker
from portrayal.media.image import UInt8, to_tensor
from portrayal.source import open_source
from portrayal.types import Portrait

PAIRS = 10


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


def sheet(data: Path, entrant: Entrant, protocol: str) -> UInt8:
    """Columns of source, driving, result: of each of ten clips the frame that differs most from the source."""
    options = EvaluateOptions(frames=9)
    clips = read_dataset(data, layout=options.layout, split=options.split)
    people = {clip.name: clip.identity for clip in clip_table(data, "validation")}
    cases, _ = make_cases("same" if protocol == "same" else "cross", clips, options)
    chosen = list({people[case.source.name]: case for case in cases}.values())[:PAIRS]
    tracker, columns = load_tracker("cpu"), []
    for case in chosen:
        prepared = prepare(case, options, tracker=tracker, cache=Path("evaluations/tracks"))
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
