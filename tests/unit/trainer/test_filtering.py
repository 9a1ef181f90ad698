# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest

from tests.rows import scored
from verl.config.algorithm import AlgorithmConfig
from verl.errors import ContractError
from verl.trainer.filtering import GroupFilter
from verl.types import Score, Source

VARIANCE = GroupFilter(keys=("overall",))
BAND = GroupFilter(keys=("overall",), mode="band")


def group(*scores):
    return [scored(0, index, score) for index, score in enumerate(scores)]


def by_parts(*parts):
    """Siblings with equal overall scores."""
    return [replace(scored(0, index, 0.0), verdict=Score(overall=0.5, parts=own)) for index, own in enumerate(parts)]


def greedy(score):
    row = scored(0, 9, score)
    return replace(row, trajectory=replace(row.trajectory, source=Source.GREEDY))


@pytest.mark.parametrize(
    ("scores", "variance", "band"),
    [
        ((0.0, 1.0), True, True),
        ((0.5, 0.5), False, True),  # nothing to learn, which a band does not see
        ((1.0, 1.0, 1.0), False, False),
        ((0.0, 0.0), False, False),
        ((1.0, 1.0, 0.99), True, False),  # a difference at the edge, which a band drops
        ((1.0, None), False, False),
        ((None, None), False, False),
        ((0.5, None), False, True),
        ((0.5,), False, True),
    ],
)
def test_variance_looks_for_a_difference_and_a_band_at_the_mean(scores, variance, band):
    assert VARIANCE.keeps(group(*scores)) is variance
    assert BAND.keeps(group(*scores)) is band


def test_the_bounds_of_a_band_are_outside_it():
    exact = replace(BAND, low=0.25, high=0.75)
    assert [exact.keeps(group(mean, mean)) for mean in (0.25, 0.26, 0.74, 0.75)] == [False, True, True, False]


def test_the_filter_looks_at_its_key_alone():
    rows = by_parts({"accuracy": 1.0, "format": 0.0}, {"accuracy": 1.0, "format": 1.0})
    assert not GroupFilter(keys=("accuracy",)).keeps(rows)
    assert GroupFilter(keys=("format",)).keeps(rows)
    assert not VARIANCE.keeps(rows)


def test_a_group_with_several_components_is_kept_for_any_of_them():
    both = GroupFilter(keys=("accuracy", "format"))
    assert both.keeps(by_parts({"accuracy": 1.0, "format": 0.0}, {"accuracy": 1.0, "format": 1.0}))
    assert not both.keeps(by_parts({"accuracy": 1.0, "format": 0.0}, {"accuracy": 1.0, "format": 0.0}))


def test_a_single_response_teaches_when_it_differs_from_its_greedy_baseline():
    assert VARIANCE.keeps([*group(1.0), greedy(0.0)])
    assert not VARIANCE.keeps([*group(1.0), greedy(1.0)])
    assert not replace(BAND, low=0.1).keeps([*group(0.0), greedy(1.0)])  # the mean is that of responses


def test_a_key_that_no_score_has_names_those_there_are():
    with pytest.raises(ContractError, match=r"no part 'acuracy'.*did you mean 'accuracy'.*algorithm.filter_key"):
        GroupFilter(keys=("acuracy",)).keeps(group(0.0, 1.0))


def test_what_was_dropped_is_told_by_kind_and_number():
    dropped = [group(0.0, 0.0)] * 3 + [group(1.0, 1.0)] + [group(None, 0.0)]
    told = "3 with every overall = 0, 1 with every overall = 1, 1 with too few responses that could be scored"
    assert VARIANCE.describe(dropped) == told
    assert BAND.describe([group(0.0, 0.0)]) == "1 with a mean overall = 0"
    many = [group(value / 10, value / 10) for value in range(7)]
    assert VARIANCE.describe(many).endswith("2 of other kinds")


def test_the_filter_is_as_configured():
    config = AlgorithmConfig(online_filtering=True, filter_mode="band", filter_key="accuracy", filter_low=0.2)
    assert GroupFilter.of(config, by_component=False) == GroupFilter(keys=("accuracy",), mode="band", low=0.2)
    assert GroupFilter.of(config, by_component=True).keys == ("accuracy", "format")
    assert GroupFilter.of(AlgorithmConfig(), by_component=False) is None
