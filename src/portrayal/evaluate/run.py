"""An evaluation from folder to numbers: every case of every protocol rendered by every system, measured, kept.

What is finished lies in the output folder and is read back next time: `tracks/` the driving motions, and per case
`cases/<protocol>/<case>/<system>/` the rendered frames as PNG and `result.json` with the numbers. A case whose inputs,
options or system changed is rendered anew; one that only misses metrics is measured anew. A case that fails is listed
with its reason, and the evaluation goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from portrayal.errors import PortrayalError
from portrayal.evaluate.dataset import EvalClip
from portrayal.evaluate.entrants import Entrant, reenact
from portrayal.evaluate.measure import Instruments, is_of_a_set, make_views, measure_case
from portrayal.evaluate.metrics_cost import Cost
from portrayal.evaluate.options import EvaluateOptions
from portrayal.evaluate.protocols import Case, Prepared, file_mark, fingerprint, make_cases, motion_of, prepare
from portrayal.media.atomic import complete_or_absent
from portrayal.media.image import UInt8, read_image, write_image
from portrayal.tracking import Progress, silent

_log = logging.getLogger(__name__)
RENDERING = ("systems", "motion", "face", "media", "nn", "rendering.py", "driving.py", "source.py", "tracking.py")
MEASURING = ("evaluate", "face", "nn")
"""Parts of the package whose code decides about frames and about numbers."""


@dataclass
class Result:
    """One case by one system."""

    case: str
    values: dict[str, float]
    """By "<metric>@<against>"."""
    notes: list[str]
    frames: list[int]
    """Numbers of the driving frames."""
    seconds: float
    """For encoding the source, rendering and pasting these frames."""
    megabytes: float
    """Peak memory, see `Cost`."""
    folder: Path
    """Where the rendered frames are."""

    def pictures(self) -> list[UInt8]:
        """(h, w, 3) for each frame."""
        return [read_image(_frame_path(self.folder, number)) for number in self.frames]


@dataclass
class Failure:
    """One case that one system, or every system, could not finish."""

    protocol: str
    case: str
    system: str
    """Empty where the case itself cannot be used."""
    reason: str


@dataclass
class Outcome:
    """One protocol by all systems."""

    protocol: Literal["same", "cross"]
    said: str
    """What the cases are."""
    motion: str
    cases: list[Case]
    results: dict[str, list[Result]] = field(default_factory=dict)
    """By system, in the order of the cases; without those that failed."""
    failures: list[Failure] = field(default_factory=list)
    set_values: dict[str, dict[str, float]] = field(default_factory=dict)
    """By system: the metrics of all frames together, such as FID."""

    def common(self) -> list[str]:
        """Names of the cases that every system finished which finished any: those that tables are made of."""
        done = [{r.case for r in results} for results in self.results.values() if results]
        return [c.name for c in self.cases if done and all(c.name in names for names in done)]


class Evaluator:
    """Runs the cases of one evaluation; holds what is loaded once."""

    def __init__(
        self, entrants: Sequence[Entrant], instruments: Instruments, options: EvaluateOptions, output: Path
    ) -> None:
        self.entrants, self.instruments, self.options, self.output = list(entrants), instruments, options, output
        self.marks = {e.name: [e.name, code_mark(RENDERING), model_mark(e.model)] for e in entrants}

    def run(
        self, protocol: Literal["same", "cross"], clips: Sequence[EvalClip], *, progress: Progress = silent
    ) -> Outcome:
        """Every case by every system.

        Raises:
            InputError: the protocol cannot be had with these clips.
        """
        cases, said = make_cases(protocol, clips, self.options)
        outcome = Outcome(protocol, said, motion_of(protocol, self.options), cases)
        outcome.results = {e.name: [] for e in self.entrants}
        for number, case in enumerate(cases, 1):
            self._run_case(_Lazy(self, case), outcome)
            progress(f"{protocol} identity", number, len(cases))
        outcome.set_values = self._measure_sets(outcome, progress)
        return outcome

    def _run_case(self, lazy: _Lazy, outcome: Outcome) -> None:
        for entrant in self.entrants:
            try:
                key = self._key(lazy.case, entrant)
                outcome.results[entrant.name].append(self._result(lazy, entrant, key))
            except _Unusable as error:
                outcome.failures.append(Failure(outcome.protocol, lazy.case.name, "", str(error)))
                return
            except Exception as error:
                reason = str(error) if isinstance(error, PortrayalError) else f"{type(error).__name__}: {error}"
                _log.debug("%s by %s", lazy.case.name, entrant.name, exc_info=error)
                outcome.failures.append(Failure(outcome.protocol, lazy.case.name, entrant.name, reason))

    def _key(self, case: Case, entrant: Entrant) -> str:
        """Tells whether rendered frames are those that would be rendered now."""
        try:
            inputs = [file_mark(case.source.video), file_mark(case.driving.video)]
        except PortrayalError as error:
            raise _Unusable(str(error)) from error
        o = self.options
        chosen = [motion_of(case.protocol, o), o.source_frame, o.frames, o.foreground, o.seed, o.tracker]
        return fingerprint("portrayal-case-1", inputs, chosen, self.marks[entrant.name])

    def _result(self, lazy: _Lazy, entrant: Entrant, key: str) -> Result:
        """The case from the output folder, or rendered and measured and put there."""
        case = lazy.case
        folder = self.output / "cases" / case.protocol / case.name / entrant.name
        wanted = self.instruments.wanted(case.protocol)
        measured = fingerprint(sorted(wanted), self.instruments.notes, code_mark(MEASURING))
        kept = None if self.options.fresh else _read(folder, key)
        if kept and kept["measured"] == measured:
            return _from_json(kept, folder)
        prepared = lazy.prepared
        if kept:
            pictures = _from_json(kept, folder).pictures()
            seconds, megabytes = kept["seconds"], kept["megabytes"]
        else:
            cost = Cost()
            pictures = reenact(
                entrant, prepared.sitter, prepared.performance, prepared.frames, options=prepared.animate, cost=cost
            )
            seconds, megabytes = cost.seconds, cost.peak_megabytes
            folder.mkdir(parents=True, exist_ok=True)
            for number, picture in zip(prepared.frames, pictures, strict=True):
                write_image(_frame_path(folder, number), picture)
        views = make_views(prepared, pictures, self.instruments, white=self.options.foreground)
        done = measure_case(views, prepared.frames, wanted, self.instruments)
        result = Result(case.name, done.values, done.notes, prepared.frames, seconds, megabytes, folder)
        _write(result, key, measured)
        return result

    def _measure_sets(self, outcome: Outcome, progress: Progress) -> dict[str, dict[str, float]]:
        """FID and its like for each system, over the common cases."""
        wanted = [w for w in self.instruments.wanted(outcome.protocol) if is_of_a_set(self.instruments.metrics[w[0]])]
        common, values = set(outcome.common()), {}
        if not wanted or not common:
            return {}
        path = self.output / f"sets-{outcome.protocol}.json"
        old = {} if self.options.fresh or not path.is_file() else json.loads(path.read_text(encoding="utf-8"))
        by_name = {case.name: case for case in outcome.cases}
        for done, entrant in enumerate(self.entrants, 1):
            results = [r for r in outcome.results[entrant.name] if r.case in common]
            keys = [self._key(by_name[r.case], entrant) for r in results]
            key = fingerprint(keys, sorted(wanted), self.instruments.notes, code_mark(MEASURING))
            if old.get(entrant.name, {}).get("key") == key:
                values[entrant.name] = old[entrant.name]["values"]
            elif results:
                values[entrant.name] = self._sets([(r, _Lazy(self, by_name[r.case])) for r in results], wanted)
                old[entrant.name] = {"key": key, "values": values[entrant.name]}
            progress(f"{outcome.protocol} identity, sets", done, len(self.entrants))
        with complete_or_absent(path) as beside:
            beside.write_text(json.dumps(old, indent=1), encoding="utf-8")
        return values

    def _sets(self, results: list[tuple[Result, _Lazy]], wanted: list[tuple[str, str]]) -> dict[str, float]:
        values: dict[str, float] = {}
        tools, white = self.instruments, self.options.foreground
        for name, against in wanted:
            metric = tools.metrics[name]
            metric.reset()
            for result, lazy in results:
                case = lazy.prepared
                reference = [case.source] if against == "source" else case.driving
                generated, true = (tools.view(result.case, f, white=white) for f in (result.pictures(), reference))
                metric.update(generated, true)
            try:
                values[f"{name}@{against}"] = float(metric.compute())
            except PortrayalError as error:
                _log.info("%s: %s", name, error)
        return values


class _Unusable(PortrayalError):
    """The case itself, not one system, is at fault."""


class _Lazy:
    """A case that is prepared when a system first needs it."""

    def __init__(self, evaluator: Evaluator, case: Case) -> None:
        self.evaluator, self.case = evaluator, case

    @cached_property
    def prepared(self) -> Prepared:
        e = self.evaluator
        try:
            return prepare(self.case, e.options, tracker=e.instruments.tracker, cache=e.output / "tracks")
        except PortrayalError as error:
            raise _Unusable(str(error)) from error


@cache
def code_mark(parts: tuple[str, ...]) -> str:
    """A hash of the package's source code in these folders and files: a result of other code is not taken over."""
    digest, root = hashlib.sha256(), Path(__file__).parents[1]
    for part in parts:
        place = root / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def model_mark(model: nn.Module | None) -> str:
    """A hash of a model's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted((model.state_dict() if model else {}).items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _frame_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.png"


def _read(folder: Path, key: str) -> dict[str, Any] | None:
    """What lies in a case's folder, if it is complete and of this key."""
    path = folder / "result.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        same = kept["key"] == key and all(_frame_path(folder, i).is_file() for i in kept["frames"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return kept if same else None


def _write(result: Result, key: str, measured: str) -> None:
    kept = {k: v for k, v in asdict(result).items() if k != "folder"} | {"key": key, "measured": measured}
    with complete_or_absent(result.folder / "result.json") as beside:
        beside.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def _from_json(kept: dict[str, Any], folder: Path) -> Result:
    names = ("case", "values", "notes", "frames", "seconds", "megabytes")
    return Result(**{name: kept[name] for name in names}, folder=folder)
