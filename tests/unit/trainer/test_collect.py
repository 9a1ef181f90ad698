# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from tests.rows import prompt, scored
from tests.unit.trainer.fakes import FakeRewards, FakeRollout
from verl.rollout.engine import SamplingPlan
from verl.trainer.clock import Clock
from verl.trainer.collect import generate_and_score, step_seed
from verl.trainer.groups import has_signal, signal_share


class Diary(FakeRewards):
    """Notes when a response comes in for scoring."""

    def __init__(self, notes):
        super().__init__()
        self.notes = notes

    def submit(self, row):
        self.notes.append(f"score {row.group}.{row.index}")
        super().submit(row)


class Chatty(FakeRollout):
    """Notes when a response is finished."""

    def generate(self, prompts, plan, asks=None):
        for row in super().generate(prompts, plan, asks):
            self.diary.append(f"finish {row.group}.{row.index}")
            yield row


def collect(num_prompts=2, n=2):
    notes: list = []
    plan = SamplingPlan(n=n, max_tokens=4)
    prompts = [prompt(f"r{i}") for i in range(num_prompts)]
    return generate_and_score(prompts, plan, Chatty(notes), Diary(notes), Clock()), notes


def test_a_response_is_scored_while_others_are_generated():
    _, notes = collect()
    assert notes.index("score 1.1") < notes.index("finish 0.0")


def test_groups_come_in_prompt_order_and_siblings_in_index_order():
    groups, _ = collect(num_prompts=3, n=2)
    places = [[(row.trajectory.group, row.trajectory.index) for row in group] for group in groups]
    assert places == [[(0, 0), (0, 1)], [(1, 0), (1, 1)], [(2, 0), (2, 1)]]


def test_siblings_share_their_prompt():
    groups, _ = collect()
    assert groups[0][0].trajectory.prompt is groups[0][1].trajectory.prompt


def test_a_group_has_signal_when_scored_siblings_disagree():
    assert has_signal([scored(0, 0, 1.0), scored(0, 1, 0.0)])
    assert not has_signal([scored(0, 0, 1.0), scored(0, 1, 1.0)])
    assert not has_signal([scored(0, 0, 1.0), scored(0, 1, None)])
    assert signal_share([[scored(0, 0, 1.0), scored(0, 1, 0.0)], [scored(1, 0, 0.5)]]) == 0.5


def test_no_two_steps_share_a_seed():
    assert len({step_seed(seed, step) for seed in range(3) for step in range(1000)}) == 3000
