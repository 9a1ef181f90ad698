# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from verl.errors import ConfigError
from verl.rollout.engine import EngineStats, SamplingPlan


def test_override_replaces_what_it_names_and_nothing_else():
    plan = SamplingPlan(n=8, temperature=1.0, max_tokens=64, seed=3)
    changed = plan.override({"temperature": 0, "n": 1, "top_p": 0.95, "stop": ["END"], "seed": None})
    assert changed == SamplingPlan(n=1, temperature=0.0, top_p=0.95, max_tokens=64, seed=None, stop=("END",))
    assert plan.n == 8


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(ConfigError, match="'temprature'; did you mean 'temperature'"):
        SamplingPlan().override({"temprature": 0.5})


@pytest.mark.parametrize(
    "changes",
    [{"n": "4"}, {"n": 1.5}, {"n": True}, {"temperature": "hot"}, {"ignore_eos": 1}, {"stop": [1]}, {"stop": 3}],
)
def test_a_value_of_the_wrong_type_is_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        SamplingPlan().override(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 0},
        {"max_tokens": 0},
        {"temperature": -0.1},
        {"temperature": 0.001},
        {"temperature": 2.5},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": 0},
        {"min_p": 1.5},
        {"repetition_penalty": 0.0},
    ],
)
def test_a_plan_that_no_engine_can_follow_is_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        SamplingPlan(**changes)


def test_greedy_is_one_response_without_chance():
    greedy = SamplingPlan(n=8, temperature=1.2, top_p=0.9, top_k=5, min_p=0.1, seed=3, max_tokens=9).greedy()
    assert greedy == SamplingPlan(n=1, temperature=0.0, max_tokens=9)


def test_only_a_plan_that_samples_the_policy_itself_is_exact():
    assert SamplingPlan(temperature=0.7, ignore_eos=True).is_exact
    shaped = [
        {"top_p": 0.9},
        {"top_k": 5},
        {"min_p": 0.1},
        {"repetition_penalty": 1.1},
        {"presence_penalty": 0.5},
        {"frequency_penalty": 0.5},
        {"temperature": 0.0},
    ]
    assert not any(SamplingPlan(**change).is_exact for change in shaped)


def test_stats_add_up():
    one = EngineStats(num_rows=1, prompt_tokens=10, response_tokens=3)
    two = EngineStats(num_rows=2, cached_prompt_tokens=4, media_loads=1, distinct_media=1)
    assert one + two == EngineStats(
        num_rows=3,
        prompt_tokens=10,
        cached_prompt_tokens=4,
        response_tokens=3,
        media_loads=1,
        distinct_media=1,
    )
