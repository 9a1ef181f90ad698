# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Steps that are filled over several rounds, and what is left over."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.unit.trainer.fakes import FakeLoader, FakeRewards, FakeRollout
from verl.errors import CheckpointError, NoSignal
from verl.rollout.engine import SamplingPlan
from verl.tracking.metrics import values
from verl.trainer.clock import Clock
from verl.trainer.collect import Collector
from verl.trainer.filtering import GroupFilter
from verl.trainer.handles import PolicyHandle
from verl.types import NotScorable, Score, Scored, Source

ROUGH = np.float32(-0.1)  # has no exact decimal


class Versioned(FakeRollout):
    """Responses carry the version of the weights, and log-probabilities that no decimal writes exactly."""

    version = 0

    def generate(self, prompts, plan, asks=None):
        for row in super().generate(prompts, plan, asks):
            logprobs = np.full(3, ROUGH * (row.index + 1), dtype=np.float32)
            yield replace(row, weight_version=self.version, rollout_logprobs=logprobs)


@dataclass(frozen=True)
class Ref:
    key: str


class Pictured(FakeLoader):
    """Every prompt has a medium."""

    def next(self):
        return [replace(one, media=(Ref("k" + one.record.id[1:]),)) for one in super().next()]


class Telling(FakeRewards):
    """Siblings differ for the prompts that teach; the greedy response of some cannot be scored."""

    def __init__(self, teaches=lambda number: True, mute=()):
        super().__init__()
        self.teaches, self.mute = teaches, mute

    def collect(self):
        return [Scored(trajectory=row.trajectory, verdict=self.verdict(row)) for row in super().collect()]

    def verdict(self, row):
        number = int(row.trajectory.prompt.record.id.removeprefix("r"))
        greedy = row.trajectory.source is Source.GREEDY
        if greedy and number in self.mute:
            return NotScorable(reason="no judge")
        score = 0.25 if greedy else float(self.teaches(number) and row.trajectory.index == 0)
        return Score(overall=score, parts={"accuracy": score})


def collector(teaches=lambda number: True, *, batch=4, wants=4, n=2, **changes):
    return Collector(
        prompts=FakeLoader(batch_size=batch),
        rollout=Versioned(),
        rewards=changes.pop("rewards", Telling(teaches)),
        plan=SamplingPlan(n=n, max_tokens=4, seed=5),
        num_prompts=wants,
        clock=Clock(),
        **({"filter": GroupFilter(keys=("overall",))} | changes),
    )


def rows_of(groups):
    return [group[0].trajectory.prompt.record.id for group in groups]


def odd(number):
    return number % 2 == 1


def test_dropped_groups_are_replaced_until_the_step_is_full():
    one = collector(odd)
    groups, metrics = one.collect(1)
    assert rows_of(groups) == ["r1", "r3", "r5", "r7"]
    told = values(metrics)
    assert told["groups/rounds"] == 2 and told["groups/dropped"] == 4 and told["groups/kept_share"] == 0.5
    assert told["groups/no_signal_share"] == 0.5  # before anything is dropped
    assert told["reward/unfiltered/overall"] == 0.25  # likewise: half of the groups have one right response of two


def test_without_a_filter_nothing_is_dropped_and_nothing_drawn_again():
    one = collector(odd, filter=None)
    groups, metrics = one.collect(1)
    assert rows_of(groups) == ["r0", "r1", "r2", "r3"] and len(one.rollout.plans) == 1
    assert not {"groups/rounds", "groups/surplus", "reward/unfiltered/overall"} & set(metrics)


def test_groups_beyond_the_step_are_kept_for_the_next_with_the_weights_they_are_from():
    one = collector(batch=6, wants=4)
    first, metrics = one.collect(1)
    one.rollout.version = 1
    second, later = one.collect(2)
    assert rows_of(first) + rows_of(second) == [f"r{number}" for number in range(8)]
    assert metrics["groups/surplus"].value == 2 and later["groups/surplus"].value == 4
    assert [group[0].trajectory.weight_version for group in second] == [0, 0, 1, 1]
    assert metrics["rollout/weight_lag"].value == 0 and later["rollout/weight_lag"].value == 1


def test_a_step_that_the_surplus_fills_generates_nothing():
    one = collector(batch=8, wants=4)
    one.collect(1)
    groups, metrics = one.collect(2)
    assert rows_of(groups) == ["r4", "r5", "r6", "r7"] and len(one.rollout.plans) == 1
    assert metrics["groups/rounds"].value == 0 and "groups/kept_share" not in values(metrics)


def test_groups_from_several_rounds_are_numbered_as_one_batch():
    groups, _ = collector(odd).collect(1)
    assert [[row.trajectory.group for row in group] for group in groups] == [[i, i] for i in range(4)]


def test_a_refill_draws_one_batch_of_the_loader_and_the_first_round_what_is_missing():
    one = collector(lambda number: number >= 4, batch=2, wants=4)
    one.collect(1)
    assert one.prompts.position == 8  # 4, then 2 and 2
    assert len(one.rollout.plans) == 3


def test_every_round_has_a_seed_of_its_own():
    one = collector(odd)
    one.collect(1)
    one.collect(2)
    assert len({plan.seed for plan in one.rollout.plans}) == 4


def test_in_vain_for_too_long_says_what_the_groups_looked_like():
    one = collector(lambda number: number == 0, max_rounds=3)
    with pytest.raises(NoSignal) as error:
        one.collect(1)
    told = str(error.value)
    assert "3 rounds of generation (trainer.max_try_make_batch) gave 1 of the 4 groups" in told
    assert "of 12 groups 11 were dropped: 11 with every overall = 0." in told
    assert len(one.rollout.plans) == 3


def test_the_last_round_allowed_may_fill_the_step():
    assert len(collector(odd, max_rounds=2).collect(1)[0]) == 4


def test_without_a_limit_drawing_goes_on():
    assert len(collector(lambda number: number > 100, max_rounds=0).collect(1)[0]) == 4


def same(left, right):
    return all(
        (a.trajectory.response_ids.tobytes(), a.trajectory.rollout_logprobs.tobytes(), a.verdict)
        == (b.trajectory.response_ids.tobytes(), b.trajectory.rollout_logprobs.tobytes(), b.verdict)
        and (a.trajectory.weight_version, a.trajectory.source, a.trajectory.index, a.trajectory.text)
        == (b.trajectory.weight_version, b.trajectory.source, b.trajectory.index, b.trajectory.text)
        for one, other in zip(left, right, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_a_resumed_run_goes_on_with_the_same_surplus_to_the_bit():
    rewards = Telling(mute=(5,))
    whole = collector(batch=6, wants=4, with_baseline=True, filter=GroupFilter(keys=("overall",)), rewards=rewards)
    whole.collect(1)
    state, position = json.loads(json.dumps(whole.state())), whole.prompts.state()
    assert [group["row"] for group in state] == [4]  # the fifth has no baseline
    resumed = collector(batch=6, wants=4, with_baseline=True, rewards=Telling(mute=(5,)))
    resumed.prompts.restore(position)
    resumed.restore(state)
    ours, theirs = whole.collect(2)[0], resumed.collect(2)[0]
    assert rows_of(ours) == rows_of(theirs) == ["r4", "r6", "r7", "r8"]
    assert same(ours, theirs) and resumed.surplus[0][0].trajectory.prompt is resumed.surplus[0][1].trajectory.prompt


def test_a_broken_surplus_is_a_checkpoint_error():
    with pytest.raises(CheckpointError, match="surplus"):
        collector().restore([{"row": 3}])


def test_every_prompt_gets_a_greedy_baseline_that_is_last_in_its_group():
    groups, metrics = collector(n=2, filter=None, with_baseline=True).collect(1)
    sources = [[row.trajectory.source for row in group] for group in groups]
    assert sources == [[Source.POLICY, Source.POLICY, Source.GREEDY]] * 4
    assert metrics["reward/greedy/overall"].value == 0.25 and metrics["groups/no_baseline"].value == 0


def test_a_group_without_a_baseline_is_left_out_and_counted():
    groups, metrics = collector(filter=None, with_baseline=True, rewards=Telling(mute=(1, 2))).collect(1)
    assert rows_of(groups) == ["r0", "r3"] and metrics["groups/no_baseline"].value == 2


def test_the_media_of_what_is_drawn_are_announced_before_anything_is_generated():
    told = []
    one = collector(odd, announce=lambda refs: told.append((len(one.rollout.diary), [ref.key for ref in refs])))
    one.prompts = Pictured(batch_size=4)
    one.collect(1)
    assert told[0] == (0, ["k0", "k1", "k2", "k3"])
    assert [keys for _, keys in told[1:]] == [["k4", "k5", "k6", "k7"]]


def test_announced_clips_are_dealt_over_the_ranks_once_each():
    class Group(list):
        def start(self, rank, method, refs):
            self.append((rank, method, [ref.key for ref in refs]))

        def __len__(self):
            return 2

    group = Group()
    PolicyHandle(group, ulysses_size=2).announce([Ref(f"k{number}") for number in (0, 1, 0, 2)])
    assert list(group) == [(0, "read_ahead", ["k0", "k2"]), (1, "read_ahead", ["k1"])]


def test_a_step_of_older_groups_alone_says_how_old_they_are():
    one = collector(batch=12, wants=4)
    lags = []
    for step in (1, 2, 3):
        one.rollout.version = step - 1
        lags.append(one.collect(step)[1]["rollout/weight_lag"].value)
    assert len(one.rollout.plans) == 1 and lags == [0, 1, 2]


def test_what_another_estimator_left_over_is_of_no_use_without_its_baseline():
    first = collector(batch=6, wants=4)
    first.collect(1)
    second = collector(wants=4, with_baseline=True)
    second.restore(first.state())
    assert len(first.state()) == 2 and second.surplus == []
