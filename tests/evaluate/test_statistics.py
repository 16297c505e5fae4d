"""Bootstrap intervals and rater agreement against worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from portrayal.evaluate.statistics import summarise
from portrayal.evaluate.userstudy_tally import krippendorff_alpha


def test_interval_of_many_values_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(3, 2, 400)
    found = summarise(values.tolist())
    half = norm.ppf(0.975) * values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.08)
    assert found == summarise(values.tolist())


def test_one_value_has_no_interval() -> None:
    found = summarise([4.0])
    assert found.mean == 4
    assert np.isnan(found.low)
    with pytest.raises(ValueError, match="at least one"):
        summarise([])


# Krippendorff (2011), "Computing Krippendorff's alpha-reliability", example C/D: 4 raters, 12 units, missing answers.
UNITS = [[1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4], [4, 4, 4, 4], [1, 1, 2, 1],
         [2, 2, 2, 2], [5, 5, 5], [1, 1], [3]]  # fmt: skip


def test_alpha_of_the_published_example() -> None:
    assert krippendorff_alpha(UNITS, "nominal") == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(UNITS, "interval") == pytest.approx(0.849, abs=5e-4)


def test_alpha_at_its_ends() -> None:
    assert krippendorff_alpha([["a", "a"], ["b", "b"]], "nominal") == 1
    assert krippendorff_alpha([["a", "b"], ["b", "a"]], "nominal") < 0
    assert np.isnan(krippendorff_alpha([["a"]], "nominal"))
