"""Numbers as Markdown: a table in each paper's layout with the published rows beside ours, and one of everything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from portrayal.evaluate.conventions import CONVENTIONS, Column
from portrayal.evaluate.entrants import COPY_SOURCE
from portrayal.evaluate.measure import SUBSTITUTES, resolve
from portrayal.evaluate.metrics import METRICS
from portrayal.evaluate.published import PUBLISHED, PublishedTable
from portrayal.evaluate.statistics import Summary

Numbers = Mapping[str, Mapping[str, Summary]]
"""By system, then by "<metric>@<against>"."""


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is text, the others numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def number(value: float | None) -> str:
    """Three decimals, more where the value is small; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if abs(value) < 5e-5:
        return "0.000"
    if abs(value) < 0.0995:
        return f"{value:.4f}"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.0f}"


def column_key(column: Column, protocol: str, present: set[str]) -> str | None:
    """Where a paper's column is found among ours; its substitute where its weights are not installed, else None."""
    for metric in (column.metric, SUBSTITUTES.get(column.metric, "")):
        if metric:
            key = f"{metric}@{resolve(metric, column.against, protocol)}"
            if key in present:
                return key
    return None


def paper_table(
    convention: str, numbers: Mapping[str, Numbers], published: Sequence[PublishedTable] = PUBLISHED
) -> str:
    """One paper's layout: our rows, then its published ones.

    Args:
        convention: a key of `CONVENTIONS`.
        numbers: by protocol, "same" and "cross"; either may be missing.
    """
    rules = CONVENTIONS[convention]
    sides = {"same": rules.same_identity, "cross": rules.cross_identity}
    shown = [(p, c) for p, columns in sides.items() for c in columns]
    present = {p: {key for row in n.values() for key in row} for p, n in numbers.items()}
    keys = [column_key(c, p, present.get(p, set())) for p, c in shown]
    header = ["", *[_title(p, c, key) for (p, c), key in zip(shown, keys, strict=True)]]
    systems = list(dict.fromkeys(name for n in numbers.values() for name in n))
    best = [_best(numbers.get(p, {}), key) for (p, _), key in zip(shown, keys, strict=True)]
    rows = []
    for system in systems:
        cells = []
        for (p, _), key, top in zip(shown, keys, best, strict=True):
            summary = numbers.get(p, {}).get(system, {}).get(key) if key else None
            text = number(summary.mean if summary else None)
            cells.append(f"**{text}**" if system in top else text)
        rows.append([system, *cells])
    for table in published:
        if table.convention == convention:
            rows += _published_rows(table, shown, keys)
    return markdown(header, rows)


def _title(protocol: str, column: Column, key: str | None) -> str:
    metric = key.split("@")[0] if key else column.metric
    entry = METRICS[metric]
    title = column.title if metric == column.metric else f"{column.title} → {entry.title}"
    return f"{protocol}: {title} {entry.arrow}"


def _published_rows(
    table: PublishedTable, shown: Sequence[tuple[str, Column]], keys: Sequence[str | None]
) -> list[list[str]]:
    """Its rows in our columns; nothing stands where ours is a substitute, as the numbers are not of one kind."""
    titles = [("same", t) for t in table.same_identity] + [("cross", t) for t in table.cross_identity]
    rows = []
    for name, values in table.rows.items():
        by_title = dict(zip(titles, values, strict=True))
        cells = []
        for (protocol, column), key in zip(shown, keys, strict=True):
            value = by_title.get((protocol, column.title), "–")
            replaced = key is not None and not key.startswith(f"{column.metric}@")
            cells.append(f"({column.title} {value})" if replaced and value != "–" else value)
        rows.append([f"*{name}* (published: {table.table}, {table.data})", *cells])
    return rows


def _best(numbers: Numbers, key: str | None) -> set[str]:
    """The systems with the best mean; the source copied does not count where it cannot but be perfect."""
    metric, _, against = str(key).partition("@")
    trivial = {COPY_SOURCE} if against in ("source", "itself") else set()
    means = {s: n[key].mean for s, n in numbers.items() if key in n and s not in trivial} if key else {}
    if not means:
        return set()
    choose = max if METRICS[metric].better == "higher" else min
    top = choose(means.values())
    return {s for s, value in means.items() if value == top}


def full_table(numbers: Numbers) -> str:
    """Every number with its 95 % interval: a row per metric, a column per system."""
    systems = list(numbers)
    keys = list(dict.fromkeys(key for row in numbers.values() for key in row))
    rows = []
    for key in keys:
        metric, against = key.split("@")
        entry, top = METRICS[metric], _best(numbers, key)
        unit = f", {entry.unit}" if entry.unit else ""
        cells = []
        for system in systems:
            text = _with_interval(numbers[system].get(key))
            cells.append(f"**{text}**" if system in top and text != "–" else text)
        rows.append([f"{entry.title} {entry.arrow} ({_words(against)}{unit})", *cells])
    return markdown(["", *systems], rows)


def _words(against: str) -> str:
    return "of itself" if against == "itself" else f"to the {against}"


def _with_interval(summary: Summary | None) -> str:
    if summary is None:
        return "–"
    if math.isnan(summary.low):
        return number(summary.mean)
    return f"{number(summary.mean)} [{number(summary.low)}, {number(summary.high)}]"
