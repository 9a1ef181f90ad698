# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl.errors import ContractError
from verl.tracking.metrics import Last, Max, Mean, Metric, Min, Sum, means, merge, spread, values

numbers = st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=20)


@given(numbers, st.integers(0, 20))
def test_merging_parts_gives_what_the_whole_gives(measured: list[float], cut: int) -> None:
    def report(part: list[float]) -> dict[str, Metric]:
        if not part:
            return {}
        total = Sum(sum(part))
        return {"mean": Mean(sum(part), len(part)), "sum": total, "max": Max(max(part)), "min": Min(min(part))}

    assert merge([report(measured[:cut]), report(measured[cut:])]) == report(measured)


def test_means_are_weighted() -> None:
    assert values(merge([{"x": Mean(10.0, 1)}, {"x": Mean(0.0, 9)}])) == {"x": 1.0}


def test_the_last_state_counts() -> None:
    assert values(merge([{"lr": Last(0.1)}, {}, {"lr": Last(0.2)}])) == {"lr": 0.2}


def test_a_mean_of_nothing_is_not_logged() -> None:
    assert math.isnan(Mean(0.0, 0).value)
    assert values({"x": Mean(0.0, 0), "y": Sum(0.0)}) == {"y": 0.0}


def test_one_name_is_one_kind_of_metric() -> None:
    with pytest.raises(ContractError, match="'x' is Mean in one place and Max in another"):
        merge([{"x": Mean(1.0)}, {"x": Max(1.0)}])


def test_merging_leaves_the_parts_alone() -> None:
    first: dict[str, Metric] = {"x": Sum(1.0)}
    merge([first, {"x": Sum(2.0)}])
    assert first == {"x": Sum(1.0)}


def test_pairs_become_means() -> None:
    assert means({"pg_loss": (3.0, 2.0)}, prefix="actor/") == {"actor/pg_loss": Mean(3.0, 2.0)}


def test_a_spread_is_mean_max_and_min() -> None:
    assert values(spread("n", [1.0, 2.0, 6.0])) == {"n/mean": 3.0, "n/max": 6.0, "n/min": 1.0}
    assert spread("n", []) == {}
