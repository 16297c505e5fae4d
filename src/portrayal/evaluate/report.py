"""What an evaluation leaves behind: report.json, report.md and picture grids."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from portrayal.evaluate.conventions import CONVENTIONS
from portrayal.evaluate.entrants import COPY_SOURCE
from portrayal.evaluate.measure import Instruments
from portrayal.evaluate.options import EvaluateOptions
from portrayal.evaluate.probe_run import ProbeOutcome
from portrayal.evaluate.probes import PROBES
from portrayal.evaluate.run import Outcome
from portrayal.evaluate.statistics import Summary, summarise
from portrayal.evaluate.tables import full_table, markdown, number, paper_table
from portrayal.media.atomic import complete_or_absent

FORMAT = "portrayal-report-1"


def summaries(outcome: Outcome, *, seed: int = 0) -> dict[str, dict[str, Summary]]:
    """Means over the cases that all systems finished, by system and "<metric>@<against>"; then FID and its like."""
    common, table = set(outcome.common()), {}
    for system, results in outcome.results.items():
        done = [r for r in results if r.case in common]
        keys = dict.fromkeys(key for r in done for key in r.values)
        row = {key: summarise([r.values[key] for r in done if key in r.values], seed=seed) for key in keys}
        for key, value in outcome.set_values.get(system, {}).items():
            row[key] = Summary(value, math.nan, math.nan, len(done))
        if row:
            table[system] = row
    return table


def write_report(
    output: Path,
    outcomes: Sequence[Outcome],
    *,
    options: EvaluateOptions,
    instruments: Instruments,
    data: str,
    probes: Sequence[ProbeOutcome] = (),
    sections: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
    pictures: Sequence[str] = (),
) -> tuple[Path, Path]:
    """Write report.json and report.md.

    Args:
        sections: further parts of report.md, text by heading. extra: further parts of report.json.
        pictures: names of files in `output` to show.

    Returns:
        The two files.
    """
    numbers: dict[str, dict[str, dict[str, Summary]]] = {o.protocol: summaries(o, seed=options.seed) for o in outcomes}
    machine = {
        "format": FORMAT,
        "data": data,
        "options": asdict(options),
        "measured_with": list(instruments.notes),
        "not_measured": instruments.missing,
        "protocols": {o.protocol: _outcome_json(o, numbers[o.protocol]) for o in outcomes},
        "probes": {p.protocol: {"values": p.values, "failures": [asdict(f) for f in p.failures]} for p in probes},
        **(extra or {}),
    }
    text = "\n\n".join(
        [
            "# Evaluation",
            f"Data: {data}." if data.startswith("synthetic") else f"Data: {data}, split {options.split}.",
            *[_what_was_done(o) for o in outcomes],
            *(_how_measured(options, instruments) if outcomes else instruments.notes),
            *(_paper_sections(numbers) if outcomes else []),
            *[
                part
                for o in outcomes
                for part in (f"## All numbers: {o.protocol} identity", full_table(numbers[o.protocol]))
            ],
            *([_speed(outcomes)] if outcomes else []),
            *[part for p in probes for part in (f"## {PROBES[p.protocol].heading}", p.section(seed=options.seed))],
            *[part for heading, body in (sections or {}).items() for part in (f"## {heading}", body)],
            *[f"![{name}]({name})" for name in pictures],
            *_listed_failures(outcomes, probes),
        ]
    )
    files = output / "report.json", output / "report.md"
    for path, body in zip(files, (json.dumps(_plain(machine), indent=1, ensure_ascii=False), text), strict=True):
        with complete_or_absent(path) as beside:
            beside.write_text(body + "\n", encoding="utf-8")
    return files


def _what_was_done(outcome: Outcome) -> str:
    common = outcome.common()
    frames = next((sum(len(r.frames) for r in rs if r.case in set(common)) for rs in outcome.results.values() if rs), 0)
    left = len(outcome.cases) - len(common)
    dropped = f"; {left} left out, see the end" if left else ""
    return f"{outcome.said} Motion: {outcome.motion}. {len(common)} cases, {frames} frames{dropped}."


def _how_measured(options: EvaluateOptions, instruments: Instruments) -> list[str]:
    spread = (
        "Every frame" if options.frames == 0 else f"About {options.frames} frames of each clip, in neighbouring threes"
    )
    region = " Everything but the face is painted white before measuring." if options.foreground else ""
    lines = [
        f"{spread}, at the resolution of the data. {' '.join(instruments.notes)}{region} "
        "Intervals: 95 %, bootstrap over clips. Bold: best of this run; copying the source does not count where it "
        "cannot but be perfect, in likeness to the source and in calm. Motion is not smoothed, as it is by default in "
        "`portrayal animate`."
    ]
    if instruments.missing:
        reasons = [f"- {name}: {reason.split('; ')[-1]}" for name, reason in instruments.missing.items()]
        lines.append("Not measured, because weights are not installed:\n\n" + "\n".join(reasons))
    return lines


def _paper_sections(numbers: dict[str, dict[str, dict[str, Summary]]]) -> list[str]:
    parts = [
        "Rows marked as published are the papers' own numbers, on their data and with their networks: they tell the "
        "usual size of such numbers, not who is better. Where a column shows a substitute (→), the published number is "
        "in brackets, because it is of another kind. † foreground only."
    ]
    for name, convention in CONVENTIONS.items():
        parts += [f"## In the layout of {convention.paper}", paper_table(name, numbers)]
        parts += [f"- {note}" for note in convention.notes]
    return parts


def _speed(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for system in dict.fromkeys(s for o in outcomes for s in o.results):
        results = [r for o in outcomes for r in o.results[system]]
        if results and system != COPY_SOURCE:
            frames, seconds = sum(len(r.frames) for r in results), sum(r.seconds for r in results)
            row = [system, number(1000 * seconds / frames), number(max(r.megabytes for r in results))]
            rows.append(row)
    header = ["", "ms per frame", "peak memory, MB"]
    note = (
        "Encoding the source for the few frames of each case, rendering and pasting; when the frames were rendered. "
        "On a CPU the memory is that of the whole process. `portrayal compare` measures a whole video."
    )
    return "\n\n".join(["## Time and memory", note, markdown(header, rows)]) if rows else ""


def _listed_failures(outcomes: Sequence[Outcome], probes: Sequence[ProbeOutcome]) -> list[str]:
    lines = []
    for f in [f for o in outcomes for f in o.failures] + [f for p in probes for f in p.failures]:
        lines.append(f"- {f.protocol}, {f.case}{f', {f.system}' if f.system else ''}: {f.reason}")
    for outcome in outcomes:
        for system, results in outcome.results.items():
            lines += [f"- {outcome.protocol}, {r.case}, {system}: {note}" for r in results for note in r.notes]
    return ["## Left out, and why", "\n".join(lines)] if lines else []


def _outcome_json(outcome: Outcome, numbers: dict[str, dict[str, Summary]]) -> dict[str, Any]:
    return {
        "cases_are": outcome.said,
        "motion": outcome.motion,
        "cases": [c.name for c in outcome.cases],
        "in_the_tables": outcome.common(),
        "summary": {s: {k: asdict(v) for k, v in row.items()} for s, row in numbers.items()},
        "per_case": {
            s: {r.case: {"frames": r.frames, "values": r.values, "notes": r.notes} for r in results}
            for s, results in outcome.results.items()
        },
        "failures": [asdict(f) for f in outcome.failures],
    }


def _plain(value: Any) -> Any:
    """For JSON: no NaN, which is not JSON, and no paths."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
