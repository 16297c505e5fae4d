"""Counting a user study: a table with confidence intervals, and how far raters agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np

from portrayal.errors import InputError
from portrayal.evaluate.published import RATINGS, SELECTION_RATES
from portrayal.evaluate.statistics import Summary, summarise
from portrayal.evaluate.tables import markdown
from portrayal.evaluate.userstudy import load_study
from portrayal.evaluate.userstudy_server import TABLE, connect


def tally(folder: Path) -> str:
    """The table of a study, with intervals over raters, their agreement and the papers' published rows.

    Raises:
        InputError: no study there, or nobody counts.
    """
    study = load_study(folder)
    with closing(connect(folder)) as database, database:
        database.execute(TABLE)
        rows = database.execute("SELECT rater, trial, answer, correct FROM answers ORDER BY rater, trial").fetchall()
    failed = {rater for rater, _, _, correct in rows if correct == 0}
    answers = {(r, t): a for r, t, a, correct in rows if r not in failed and correct is None}
    raters = sorted({rater for rater, _ in answers})
    if not raters:
        raise InputError(f"{folder} holds no answers that count; {len(failed)} raters failed an attention check")
    systems = list(dict.fromkeys(c.system for c in study.clips))
    table, agreement = (_choices if study.kind == "pairwise" else _ratings)(answers, raters, systems)
    left_out = f" {len(failed)} more failed an attention check and are left out." if failed else ""
    said = (
        f"{len(raters)} raters, {len(answers)} answers.{left_out} Intervals: 95 %, bootstrap over raters. Agreement: "
        f"Krippendorff's alpha {agreement:.2f} (1 full, 0 as by chance)."
    )
    return f"{table}\n\n{said}"


def _choices(
    answers: Mapping[tuple[str, str], str], raters: Sequence[str], systems: Sequence[str]
) -> tuple[str, float]:
    """Selection rates in percent: chosen / shown."""
    rows = []
    for system in systems:
        rates = []
        for rater in raters:
            mine = [(t, a) for (r, t), a in answers.items() if r == rater and system in t.split(":")[1:]]
            if mine:
                rates.append(100 * sum(a == system for _, a in mine) / len(mine))
        rows.append([system, _cell(summarise(rates)) if rates else "–"])
    rows += [
        [f"*{name}* (published: directions, Table 1, best of all)", rate] for name, rate in SELECTION_RATES.items()
    ]
    units: dict[str, list[str]] = {}
    for (_, trial), answer in answers.items():
        units.setdefault(trial, []).append(answer)
    return markdown(["", "selected, %"], rows), krippendorff_alpha(list(units.values()), "nominal")


def _ratings(
    answers: Mapping[tuple[str, str], str], raters: Sequence[str], systems: Sequence[str]
) -> tuple[str, float]:
    """Mean motion and identity from 0 to 10."""
    rows, units = [], []
    for system in systems:
        cells = []
        for which in range(2):
            means = []
            for rater in raters:
                mine = [
                    int(a.split(",")[which]) for (r, t), a in answers.items() if r == rater and t.endswith(f":{system}")
                ]
                if mine:
                    means.append(float(np.mean(mine)))
            cells.append(_cell(summarise(means)) if means else "–")
        rows.append([system, *cells])
    for trial in sorted({t for _, t in answers}):
        for which in range(2):
            units.append([float(a.split(",")[which]) for (_, t), a in answers.items() if t == trial])
    rows += [[f"*{n}* (published: OTAvatar, supplement Table 2)", *values] for n, values in RATINGS.items()]
    return markdown(["", "motion ↑", "identity ↑"], rows), krippendorff_alpha(units, "interval")


def _cell(summary: Summary) -> str:
    if np.isnan(summary.low):
        return f"{summary.mean:.1f}"
    return f"{summary.mean:.1f} [{summary.low:.1f}, {summary.high:.1f}]"


def krippendorff_alpha(units: Sequence[Sequence[float | str]], level: Literal["nominal", "interval"]) -> float:
    """Agreement of several raters who need not all have answered (Krippendorff 2011).

    alpha = 1 - D_o / D_e: observed disagreement within units over that expected if answers were dealt at random. Not a
    number where no unit has two answers; 1 where all answers are equal.

    Args:
        units: the answers to each question.
        level: nominal, answers are equal or not; interval, squared differences.
    """
    paired = [list(unit) for unit in units if len(unit) > 1]
    values = [value for unit in paired for value in unit]
    if not values:
        return float("nan")

    def disagreement(group: Sequence[float | str]) -> float:
        """Sum over ordered pairs."""
        if level == "nominal":
            same = sum(group.count(value) - 1 for value in group)
            return float(len(group) * (len(group) - 1) - same)
        x = np.asarray(group, np.float64)
        return float(2 * (len(x) * (x**2).sum() - x.sum() ** 2))

    n = len(values)
    observed = sum(disagreement(unit) / (len(unit) - 1) for unit in paired) / n
    expected = disagreement(values) / (n * (n - 1))
    return 1.0 if expected == 0 else 1 - observed / expected
