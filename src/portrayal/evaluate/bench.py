"""`portrayal evaluate`: from names and a folder to a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from portrayal.errors import InputError
from portrayal.evaluate.dataset import read_dataset
from portrayal.evaluate.entrants import Entrant, load_entrants
from portrayal.evaluate.grids import write_grid
from portrayal.evaluate.measure import Instruments
from portrayal.evaluate.options import EvaluateOptions
from portrayal.evaluate.probe_run import run_probe
from portrayal.evaluate.probes import PROBES
from portrayal.evaluate.report import write_report
from portrayal.evaluate.run import Evaluator
from portrayal.evaluate.synthetic_bench import run_bench
from portrayal.face.tracker import load_tracker, pick_device
from portrayal.tracking import Progress, silent

SYNTHETIC = "synthetic"
"""In place of a data folder: heads with known ground truth."""
DEFAULT_OUTPUT = Path("evaluation")


@dataclass(frozen=True)
class Evaluation:
    """What came out of `evaluate`."""

    report: Path
    machine_report: Path
    cases: int
    failed: int

    def summary(self) -> str:
        """What the command line prints."""
        failed = f" {self.failed} could not be finished; the report says why." if self.failed else ""
        return f"{self.cases} cases measured.{failed}\nReport: {self.report}"


def evaluate(
    systems: Sequence[str],
    data: Path | str,
    output: Path | str | None = None,
    options: EvaluateOptions | None = None,
    *,
    progress: Progress = silent,
) -> Evaluation:
    """Measure systems on video clips and write report.md, report.json and picture grids.

    An interrupted evaluation continues where it stopped; a second run gives the same numbers.

    Args:
        systems: keys of `SYSTEMS`, and copy-source.
        data: a folder of clips, or "synthetic" for heads with known ground truth.
        output: folder; None is evaluation/.

    Raises:
        InputError: an unknown system or data that cannot be used at all. One bad clip is listed in the report.
    """
    options = options or EvaluateOptions()
    output = Path(output or DEFAULT_OUTPUT)
    device = pick_device(options.device)
    entrants = load_entrants(systems, device=device, weights=options.weights)
    if str(data) == SYNTHETIC:
        return _on_synthetic(entrants, output, options, progress)
    clips = read_dataset(data, layout=options.layout, split=options.split)
    _make_folder(output)
    evaluator = Evaluator(
        entrants, Instruments.load(load_tracker(options.device, options.tracker), device), options, output
    )
    outcomes, probes, pictures = [], [], []
    for protocol in dict.fromkeys(options.protocol):
        if protocol in PROBES:
            probe, drawn = run_probe(evaluator, protocol, clips, progress=progress)
            probes.append(probe)
            pictures += [f"{protocol}.jpg"] if drawn else []
        if protocol in ("same", "cross"):
            reenactment: Literal["same", "cross"] = "same" if protocol == "same" else "cross"
            outcome = evaluator.run(reenactment, clips, progress=progress)
            outcomes.append(outcome)
            if write_grid(evaluator, outcome, output / f"{protocol}.jpg"):
                pictures.append(f"{protocol}.jpg")
    if options.figures:
        from portrayal.evaluate.figures_run import write_figures

        pictures += write_figures(evaluator, outcomes, clips)
    files = write_report(
        output,
        outcomes,
        probes=probes,
        options=options,
        instruments=evaluator.instruments,
        data=Path(data).resolve().name,
        pictures=pictures,
    )
    failed = sum(len(o.failures) for o in outcomes) + sum(len(p.failures) for p in probes)
    cases = sum(len(o.cases) for o in outcomes) + sum(len(p.sources) for p in probes)
    return Evaluation(files[1], files[0], cases, failed)


def _on_synthetic(
    entrants: Sequence[Entrant], output: Path, options: EvaluateOptions, progress: Progress
) -> Evaluation:
    """True errors on synthetic heads, in a report of its own."""
    _make_folder(output)
    tools = Instruments.load(load_tracker(options.device, options.tracker), pick_device(options.device))
    bench = run_bench(entrants, tools, seed=options.seed, pairs=options.clips, progress=progress)
    parts = {"True errors on synthetic heads": f"{bench.explained()}\n\n{bench.table(seed=options.seed)}"}
    if bench.failures:
        parts["Left out, and why"] = "\n".join(f"- {line}" for line in bench.failures)
    files = write_report(
        output,
        [],
        options=options,
        instruments=tools,
        data=f"{SYNTHETIC}, seed {options.seed}",
        sections=parts,
        extra={"synthetic": bench.values},
    )
    return Evaluation(files[1], files[0], len(next(iter(bench.values["all"].values()))), len(bench.failures))


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be used as a folder ({error.strerror}); choose another with --out") from error
