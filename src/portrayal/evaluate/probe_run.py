"""The protocols of `probes` over many sources: rendered, measured, kept, listed like the cases of `run`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portrayal.errors import PortrayalError
from portrayal.evaluate.dataset import EvalClip, identities
from portrayal.evaluate.entrants import Entrant
from portrayal.evaluate.probes import PROBES
from portrayal.evaluate.protocols import file_mark, fingerprint, first_picture
from portrayal.evaluate.run import MEASURING, Evaluator, Failure, code_mark
from portrayal.evaluate.statistics import Summary, summarise
from portrayal.media.atomic import complete_or_absent
from portrayal.media.image import UInt8, write_image
from portrayal.media.sheet import labelled_grid
from portrayal.source import Sitter
from portrayal.tracking import Progress, silent


@dataclass
class ProbeOutcome:
    """One such protocol by all systems that can do it."""

    protocol: str
    sources: list[str]
    values: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """By system and source."""
    left_out: list[str] = field(default_factory=list)
    """Systems without the capability."""
    failures: list[Failure] = field(default_factory=list)

    def summaries(self, *, seed: int = 0) -> dict[str, dict[str, Summary]]:
        """Means over the sources that every system finished, by system and name of the number."""
        done = [set(v) for v in self.values.values() if v]
        common = [s for s in self.sources if all(s in names for names in done)]
        table = {}
        for system, values in self.values.items():
            rows = [values[s] for s in common if s in values]
            keys = dict.fromkeys(k for row in rows for k in row)
            table[system] = {k: summarise([row[k] for row in rows if k in row], seed=seed) for k in keys}
        return {system: row for system, row in table.items() if row}

    def section(self, *, seed: int = 0) -> str:
        """Its part of report.md."""
        probe, numbers = PROBES[self.protocol], self.summaries(seed=seed)
        parts = [f"{probe.explained} {len(self.sources)} sources."]
        if self.left_out:
            parts.append(f"Without the capability {probe.needs}, and so left out: {', '.join(self.left_out)}.")
        if numbers:
            parts.append(probe.table(numbers))
        return "\n\n".join(parts)


def run_probe(
    evaluator: Evaluator, protocol: str, clips: Sequence[EvalClip], *, progress: Progress = silent
) -> tuple[ProbeOutcome, bool]:
    """The first frame with a face of the first clip of each person, by every system that can.

    Returns:
        what came out, and whether `<protocol>.jpg` was written to the output folder: one source, a row per system.
    """
    probe = PROBES[protocol]
    sources = [group[0] for group in identities(clips).values()][: evaluator.options.clips or None]
    outcome = ProbeOutcome(protocol, [clip.name for clip in sources])
    able = [e for e in evaluator.entrants if probe.needs is None or probe.needs in e.capabilities]
    outcome.left_out = [e.name for e in evaluator.entrants if e not in able]
    rows: dict[str, list[UInt8]] = {}
    for entrant in able:
        outcome.values[entrant.name] = {}
        for number, clip in enumerate(sources, 1):
            try:
                values, strip = _values(evaluator, protocol, entrant, clip)
                outcome.values[entrant.name][clip.name] = values
                if clip is sources[0]:
                    rows[entrant.name] = strip
            except Exception as error:
                reason = str(error) if isinstance(error, PortrayalError) else f"{type(error).__name__}: {error}"
                outcome.failures.append(Failure(protocol, clip.name, entrant.name, reason))
            progress(f"{protocol}, {entrant.name}", number, len(sources))
    picture = evaluator.output / f"{protocol}.jpg"
    if rows and (any(rows.values()) or not picture.is_file()):
        strips = [strip or _rendered(evaluator, protocol, name, sources[0]) for name, strip in rows.items()]
        write_image(picture, labelled_grid(probe.titles, strips, list(rows)))
    return outcome, bool(rows)


def _rendered(evaluator: Evaluator, protocol: str, name: str, clip: EvalClip) -> list[UInt8]:
    """The pictures of a source whose numbers were kept."""
    entrant = next(e for e in evaluator.entrants if e.name == name)
    return PROBES[protocol].run(entrant, _sitter(evaluator, clip), evaluator.instruments)[1]


def _sitter(evaluator: Evaluator, clip: EvalClip) -> Sitter:
    return first_picture(clip, tracker=evaluator.instruments.tracker, cache=evaluator.output / "tracks")


def _values(
    evaluator: Evaluator, protocol: str, entrant: Entrant, clip: EvalClip
) -> tuple[dict[str, float], list[UInt8]]:
    """Numbers of one source from the output folder, or rendered and measured; then with the pictures."""
    path = evaluator.output / "cases" / protocol / clip.name / entrant.name / "result.json"
    marks = [
        file_mark(clip.video),
        evaluator.options.tracker,
        evaluator.marks[entrant.name],
        evaluator.instruments.notes,
        code_mark(MEASURING),
    ]
    key = fingerprint("portrayal-probe-1", protocol, marks)
    kept = {} if evaluator.options.fresh else _read(path)
    if kept.get("key") == key:
        return kept["values"], []
    values, pictures = PROBES[protocol].run(entrant, _sitter(evaluator, clip), evaluator.instruments)
    path.parent.mkdir(parents=True, exist_ok=True)
    with complete_or_absent(path) as beside:
        beside.write_text(json.dumps({"key": key, "values": values}, indent=1), encoding="utf-8")
    return values, pictures


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
