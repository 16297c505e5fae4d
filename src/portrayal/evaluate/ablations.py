"""`portrayal ablate`: a system trained without each of its parts in turn, in the layout of its paper's table.

A system that has an ablation table exports `ABLATIONS: dict[str, Ablation]`, a row each, the whole system last. Every
row is trained with the shared loop, from scratch or from weights that all rows share (`Ablation.shares_start`), all
with the same preset, steps and data; `train` takes over what lies in its folder already. Beside them stand the paper's
own rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from portrayal.errors import InputError
from portrayal.evaluate.ablation import Ablation
from portrayal.evaluate.conventions import CONVENTIONS
from portrayal.evaluate.dataset import read_dataset
from portrayal.evaluate.entrants import Entrant
from portrayal.evaluate.measure import Instruments
from portrayal.evaluate.options import EvaluateOptions
from portrayal.evaluate.published import ABLATIONS as PUBLISHED_ABLATIONS
from portrayal.evaluate.report import summaries
from portrayal.evaluate.run import Evaluator
from portrayal.evaluate.statistics import Summary
from portrayal.evaluate.tables import paper_table
from portrayal.face.tracker import load_tracker, pick_device
from portrayal.media.atomic import complete_or_absent
from portrayal.systems import SYSTEMS
from portrayal.tracking import Progress, silent
from portrayal.train.run import override
from portrayal.weights.model import weights_of


@dataclass(frozen=True)
class AblationTable:
    """What came out of `ablate`."""

    report: Path
    text: str

    def summary(self) -> str:
        """What the command line prints."""
        return f"{self.text}\n\nTable: {self.report}"


def ablation_rows(name: str) -> Mapping[str, Ablation]:
    """The rows that a system has.

    Raises:
        InputError: no such system, or none of its parts can be left out.
    """
    if name not in SYSTEMS:
        raise InputError(f"there is no system {name!r}; choose one of: {', '.join(SYSTEMS)}.")
    rows: Mapping[str, Ablation] = getattr(SYSTEMS[name], "ABLATIONS", {})
    if not rows:
        able = [other for other, system in SYSTEMS.items() if getattr(system, "ABLATIONS", {})]
        others = f"; these have: {', '.join(able)}" if able else ", and no other system has one yet"
        raise InputError(
            f"{name} has no ablation table: it has no parts that are trained and could be left out{others}."
        )
    return rows


def chosen_rows(rows: Mapping[str, Ablation], only: Sequence[str]) -> Mapping[str, Ablation]:
    """
    Raises:
        InputError: no row has one of these names.
    """
    for wanted in only:
        if wanted not in rows:
            raise InputError(f"there is no row {wanted!r}; choose of: {', '.join(map(repr, rows))}.")
    return {row: ablation for row, ablation in rows.items() if not only or row in only}


def shared_start(name: str, rows: Mapping[str, Ablation], weights: Sequence[Path]) -> dict[str, Path]:
    """What `Ablation.train` is told of the weights that rows begin with: nothing where none are given.

    Raises:
        InputError: weights for rows that are trained from scratch, of another system, or more than one file.
    """
    if not weights:
        return {}
    if not all(row.shares_start for row in rows.values()):
        raise InputError(f"the rows of {name} are trained from scratch; leave --weights out.")
    if len(weights) > 1:
        raise InputError(f"all rows of {name} begin with the same weights; give one file with --weights.")
    made_for = weights_of(weights[0])
    if made_for != name:
        raise InputError(f"{weights[0]}: it holds weights of {made_for!r}, not of {name}.")
    return {"init": weights[0]}


def ablate(
    name: str,
    data: Path | str,
    output: Path | str | None = None,
    options: EvaluateOptions | None = None,
    *,
    preset: str = "compact",
    only: Sequence[str] = (),
    overrides: Sequence[str] = (),
    progress: Progress = silent,
) -> AblationTable:
    """Train and evaluate the rows of a system's ablation table.

    Args:
        data: a folder with both halves: rows are trained on the one and measured on the other.
        output: folder; None is ablations/<name>.
        only: names of rows; none stands for all.
        options: `weights`, of rows that share a start: the file of it; a row's own weights do not come from there.
        overrides: as of `train.run.override`, in every row.

    Raises:
        InputError: a system without rows, or without such a row, or data or weights that cannot be used.
    """
    rows, options = chosen_rows(ablation_rows(name), only), options or EvaluateOptions()
    start = shared_start(name, rows, options.weights)
    whole = override(getattr(SYSTEMS[name].Config, preset)(), overrides)
    output, device = Path(output or Path("ablations") / name), pick_device(options.device)
    clips = read_dataset(data, layout=options.layout, split=options.split)
    entrants = []
    for row, ablation in rows.items():
        config = ablation.config(whole)
        folder = output / "runs" / row.replace(" ", "-").replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        model = ablation.train(config, Path(data), folder, progress, **start)
        entrants.append(Entrant(row, SYSTEMS[name], model.to(device).eval(), device))
    evaluator = Evaluator(
        entrants, Instruments.load(load_tracker(options.device, options.tracker), device), options, output
    )
    numbers: dict[str, dict[str, dict[str, Summary]]] = {}
    for protocol in ("same", "cross"):
        if protocol in options.protocol:
            outcome = evaluator.run("same" if protocol == "same" else "cross", clips, progress=progress)
            numbers[protocol] = summaries(outcome, seed=options.seed)
    text = ablation_table(name, numbers)
    report = output / "ablation.md"
    with complete_or_absent(report) as beside:
        setting = " ".join([f"Preset {preset}", *overrides])
        beside.write_text(f"# Ablation of {name}\n\n{setting}.\n\n{text}\n", encoding="utf-8")
    return AblationTable(report, text)


def ablation_table(name: str, numbers: Mapping[str, Mapping[str, Mapping[str, Summary]]]) -> str:
    """Our rows in the layout of the paper's table, and its published rows."""
    convention = name if name in CONVENTIONS else "mmfa"
    published = [table for table in PUBLISHED_ABLATIONS if table.convention == name]
    return paper_table(convention, numbers, published)
