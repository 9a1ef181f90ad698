# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.rollout.builders import make_prompt
from verl.rollout.engine import Ask, SamplingPlan
from verl.rollout.router import assign
from verl.types import Source
from verl.workers.rollout import _plans

PLAN = SamplingPlan(n=4, max_tokens=10)

prompts_of_clips = st.lists(
    st.tuples(st.lists(st.sampled_from("abcdef"), max_size=2), st.integers(1, 400)), max_size=24
).map(lambda rows: [make_prompt(*keys, length=length) for keys, length in rows])


def cost(prompt):
    return len(prompt.ids) + PLAN.n * PLAN.max_tokens


@given(prompts_of_clips, st.integers(1, 5))
def test_every_prompt_goes_to_one_server_in_order(prompts, num_servers):
    shares = assign(prompts, PLAN, num_servers)
    assert len(shares) == num_servers
    assert sorted(i for share in shares for i in share) == list(range(len(prompts)))
    assert all(share == sorted(share) for share in shares)


@given(prompts_of_clips, st.integers(1, 5))
def test_no_server_has_more_than_its_share_and_one_bundle(prompts, num_servers):
    """The bound of greedy scheduling: a fair share, and the last piece, which is a share or one prompt."""
    costs = [cost(prompt) for prompt in prompts]
    fair = sum(costs) / num_servers
    loads = [sum(costs[i] for i in share) for share in assign(prompts, PLAN, num_servers)]
    assert max(loads) <= fair + max([fair, *costs])


def test_prompts_about_one_clip_stay_together():
    prompts = [make_prompt(key) for key in "abcabcab"]
    shares = assign(prompts, PLAN, 3)
    assert sorted(shares) == [[0, 3, 6], [1, 4, 7], [2, 5]]


def test_prompts_joined_through_a_third_stay_together():
    prompts = [make_prompt(*keys) for keys in ("a", "b", "cd", "ab", "e", "f", "g", "h")]
    share = next(share for share in assign(prompts, PLAN, 2) if 0 in share)
    assert {0, 1, 3} <= set(share)


def test_a_clip_that_everyone_asks_about_is_split_rather_than_left_to_one_server():
    shares = assign([make_prompt("a")] * 12, PLAN, 3)
    assert [len(share) for share in shares] == [4, 4, 4]


def test_heavy_prompts_are_spread_first():
    prompts = [make_prompt(length=length) for length in (10, 10, 10, 10, 1000, 1000)]
    assert [len(share) for share in assign(prompts, PLAN, 2)] == [3, 3]


def test_no_prompts_no_work():
    assert assign([], PLAN, 2) == [[], []]


def test_load_counts_the_responses_that_each_prompt_gets():
    prompts = [make_prompt(key, length=1) for key in "abc"]
    assert assign(prompts, PLAN, 2, [6, 3, 3]) == [[0], [1, 2]]


def test_a_greedy_response_has_the_index_after_those_of_the_plan():
    (seven, greedy) = _plans(replace(PLAN, n=8), Ask(n=7, greedy=True))
    assert (seven.sampling.n, seven.first, seven.source) == (7, 0, Source.POLICY)
    assert (greedy.sampling.n, greedy.sampling.temperature, greedy.first) == (1, 0.0, 8)
    assert greedy.source is Source.GREEDY
    assert len(_plans(PLAN, Ask(n=4))) == 1
