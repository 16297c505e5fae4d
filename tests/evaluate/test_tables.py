"""Tables: bold where best, the papers' rows beside ours and as printed."""

from __future__ import annotations

import math

import pytest

from portrayal.evaluate.conventions import CONVENTIONS
from portrayal.evaluate.published import ABLATIONS, PUBLISHED, PublishedTable
from portrayal.evaluate.statistics import Summary
from portrayal.evaluate.tables import full_table, number, paper_table


def value(mean: float) -> Summary:
    return Summary(mean, mean - 1, mean + 1, 5)


NUMBERS = {
    "same": {
        "copy-source": {"psnr@target": value(16.4), "csim@source": value(1.0), "perceptual_tracker@target": value(2.0)},
        "meshwarp": {"psnr@target": value(21.0), "csim@source": value(0.9), "perceptual_tracker@target": value(1.0)},
        "other": {"psnr@target": value(20.0), "csim@source": value(0.8)},
    }
}


def row(table: str, name: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {name}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_best_is_bold_and_copying_does_not_count_where_it_must_win() -> None:
    table = paper_table("export3d", NUMBERS)
    assert row(table, "meshwarp")[1] == "**21.000**"
    assert row(table, "other")[1] == "20.000"
    assert row(table, "copy-source")[4] == "1.000"
    assert row(table, "meshwarp")[4] == "**0.900**"
    assert row(table, "meshwarp")[2] == "–"


def test_published_rows_stand_beside_ours_as_printed() -> None:
    published = row(paper_table("export3d", NUMBERS), "*Export3D* (published: Table 1, VFHQ)")
    assert published[1:] == ["23.555", "0.704", "3.453", "0.811", "0.082", "0.030", "0.694", "0.208", "0.080"]


def test_a_substitute_is_named_and_the_published_number_set_apart() -> None:
    table = paper_table("mmfa", NUMBERS)
    header = [cell.strip() for cell in table.splitlines()[0].strip("|").split("|")]
    assert header[1] == "same: LPIPS → Perceptual (tracker) ↓"
    assert row(table, "*FOMM*")[1] == "(LPIPS 0.108)"
    assert row(table, "meshwarp")[1] == "**1.000**"


def test_full_table_has_intervals() -> None:
    assert row(full_table(NUMBERS["same"]), "PSNR")[1] == "16.400 [15.400, 17.400]"


@pytest.mark.parametrize("table", [*PUBLISHED, *ABLATIONS], ids=lambda t: f"{t.paper}, {t.table}")
def test_published_tables_are_whole_and_fit_the_conventions(table: PublishedTable) -> None:
    columns = table.same_identity + table.cross_identity
    assert all(len(values) == len(columns) for values in table.rows.values())
    for values in table.rows.values():
        assert all(math.isfinite(float(v)) for v in values)
    convention = CONVENTIONS[table.convention]
    assert set(table.same_identity) <= {c.title for c in convention.same_identity}
    assert set(table.cross_identity) <= {c.title for c in convention.cross_identity}


@pytest.mark.parametrize(
    ("given", "shown"),
    [(21.2341, "21.234"), (0.01234, "0.0123"), (-1e-9, "0.000"), (1234.5, "1234"), (math.nan, "–"), (None, "–")],
)
def test_numbers(given: float | None, shown: str) -> None:
    assert number(given) == shown
