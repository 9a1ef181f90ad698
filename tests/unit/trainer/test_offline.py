# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from tests.rows import prompt, record, scored
from tests.unit.data.test_offline import Letters
from tests.unit.trainer.fakes import FakeRewards, FakeRollout
from verl.config.load import load
from verl.data.offline import OfflineReader
from verl.errors import ConfigError, ContractError, DataError
from verl.rollout.engine import SamplingPlan
from verl.trainer.clock import Clock
from verl.trainer.collect import Collector
from verl.trainer.filtering import GroupFilter
from verl.trainer.offline import Mixing, replaced
from verl.types import NotScorable, Score, Scored, Source

GOOD = "good"


class Watched(FakeRollout):
    def generate(self, prompts, plan, asks=None):
        self.diary.append([ask.n for ask in asks])
        yield from (replace(row, weight_version=3) for row in super().generate(prompts, plan, asks))


class Judged(FakeRewards):
    """Offline responses are right; of the generated ones as many as the prompt's name says, the first ones."""

    def collect(self):
        return [Scored(trajectory=row.trajectory, verdict=self.verdict(row.trajectory)) for row in super().collect()]

    def verdict(self, row):
        right = row.source is Source.OFFLINE or row.index < int(row.prompt.record.id[1])
        return Score(overall=float(right), parts={"accuracy": float(right)})


class Rows:
    """Prompts named after how many of their responses are right, with these texts of their own."""

    def __init__(self, *rows):
        self.rows = rows

    def next(self):
        return [prompt(f"r{right}", offline_responses=texts) for right, *texts in self.rows]


def mixing(**changes):
    reader = OfflineReader(model=Letters(), max_tokens=8)
    return Mixing(**({"reader": reader, "group_size": 4} | changes))


def collect(rows, **changes):
    rollout = Watched()
    one = Collector(
        prompts=Rows(*rows),
        rollout=rollout,
        plan=SamplingPlan(n=4, max_tokens=8, seed=1),
        num_prompts=len(rows),
        clock=Clock(),
        **({"rewards": Judged(), "mixing": mixing()} | changes),
    )
    groups, metrics = one.collect(1)
    return groups, metrics, rollout.diary[0]


def sources(groups):
    return ["".join(row.trajectory.source.name[0] for row in group) for group in groups]


def test_one_response_less_is_generated_where_one_is_used():
    groups, metrics, asked = collect([(1, GOOD), (1,), (3, GOOD)])
    assert asked == [3, 4, 3] and sources(groups) == ["PPPO", "PPPP", "PPPO"]
    assert [[row.trajectory.index for row in group] for group in groups] == [[0, 1, 2, 3]] * 3
    assert metrics["mix_policy/discarded"].value == 0 and metrics["mix_policy/groups"].value == 2
    assert metrics["mix_policy/offline_share"].value == pytest.approx(2 / 12)


def test_an_offline_response_is_scored_as_the_others_and_told_apart():
    groups, metrics, _ = collect([(0, GOOD)])
    last = groups[0][-1]
    assert last.trajectory.response_ids.tolist() == [*map(ord, GOOD), 3] and last.trajectory.text == GOOD
    assert last.verdict.overall == 1.0 and not last.trajectory.knows_rollout_logprobs
    assert metrics["reward/offline/accuracy"].value == 1.0
    assert metrics["rollout/weight_lag"].value == 0


def test_it_is_sent_for_scoring_before_anything_is_generated():
    order = []

    class Noting(Judged):
        def submit(self, row):
            order.append(row.source.name)
            super().submit(row)

    Collector(
        prompts=Rows((1, GOOD)),
        rollout=Watched(),
        rewards=Noting(),
        plan=SamplingPlan(n=4, max_tokens=8),
        num_prompts=1,
        clock=Clock(),
        mixing=mixing(),
    ).collect(1)
    assert order == ["OFFLINE", "POLICY", "POLICY", "POLICY"]


def test_with_a_threshold_the_last_response_of_a_group_below_it_is_replaced():
    groups, metrics, asked = collect([(1, GOOD), (2, GOOD), (1,), (0, GOOD)], mixing=mixing(threshold=0.5))
    assert asked == [4, 4, 4, 4] and sources(groups) == ["PPPO", "PPPP", "PPPP", "PPPO"]
    assert metrics["mix_policy/candidates"].value == 3 and metrics["mix_policy/groups"].value == 2
    assert metrics["mix_policy/discarded"].value == 2
    assert [row.verdict.overall for row in groups[3]] == [0.0, 0.0, 0.0, 1.0]


def test_one_without_a_verdict_takes_nobodys_place():
    class Undecided(Judged):
        def verdict(self, row):
            return NotScorable(reason="no judge") if row.source is Source.OFFLINE else super().verdict(row)

    groups, metrics, _ = collect([(1, GOOD)], mixing=mixing(threshold=0.5), rewards=Undecided())
    assert sources(groups) == ["PPPP"]
    assert metrics["mix_policy/groups"].value == 1 and metrics["mix_policy/discarded"].value == 0


def test_a_response_that_is_too_long_leaves_the_group_to_the_policy():
    groups, metrics, asked = collect([(1, "much too long"), (1, GOOD)])
    assert asked == [4, 3] and sources(groups) == ["PPPP", "PPPO"]
    assert metrics["mix_policy/overlong"].value == 1


def test_as_many_as_allowed_are_used_where_a_row_has_several():
    groups, _, asked = collect([(1, "a", "b", "c"), (1, "a")], mixing=mixing(per_group=2))
    assert asked == [2, 3] and sources(groups) == ["PPOO", "PPPO"]


def test_of_several_each_step_draws_anew_and_a_resumed_run_the_same():
    one = [prompt("r1", offline_responses=("a", "b", "c"))]
    texts = [mixing().candidates(one, step)[0][0].text for step in range(20)]
    assert set(texts) == {"a", "b", "c"}
    assert texts == [mixing().candidates(one, step)[0][0].text for step in range(20)]


def test_a_greedy_baseline_stays_the_last_and_does_not_count_for_the_threshold():
    groups, _, asked = collect([(1, GOOD), (4, GOOD)], mixing=mixing(threshold=0.5), with_baseline=True)
    assert asked == [4, 4] and sources(groups) == ["PPPOG", "PPPPG"]
    groups, _, asked = collect([(1, GOOD)], with_baseline=True)
    assert asked == [3] and sources(groups) == ["PPPOG"]


def test_the_filter_sees_groups_with_what_was_mixed_in():
    groups, metrics, _ = collect([(0, GOOD), (0, GOOD)], filter=GroupFilter(keys=("overall",)))
    assert sources(groups) == ["PPPO", "PPPO"] and metrics["groups/dropped"].value == 0
    assert metrics["reward/unfiltered/overall"].value == 0.0  # the policy's alone


def test_a_group_that_nobody_could_score_is_not_below_the_threshold():
    assert not mixing(threshold=0.5).wants([scored(0, 0, None)])
    assert mixing(threshold=0.5).wants([scored(0, 0, None), scored(0, 1, 0.0)])


def test_a_threshold_needs_an_accuracy():
    row = replace(scored(0, 0, 1.0), verdict=Score(overall=1.0))
    with pytest.raises(ContractError, match="no part 'accuracy'"):
        mixing(threshold=0.5).wants([row])


def test_rows_are_replaced_by_their_index():
    late = [scored(0, 1, 0.5)]
    group = replaced([scored(0, 0, 0.0), scored(0, 1, 0.0), scored(0, 2, 0.0)], late)
    assert [row.verdict.overall for row in group] == [0.0, 0.5, 0.0]


ON = ["worker.rollout.enable_mix_policy=true", "worker.rollout.n=4", "data.max_response_length=6"]


def test_mixing_is_as_configured():
    settings = ["worker.rollout.mix_policy_accuracy_threshold=0.3", "worker.rollout.mix_policy_overlong=truncate"]
    made = Mixing.of(load([*ON, *settings]), Letters(), [record(offline_responses=(GOOD,))])
    assert (made.threshold, made.group_size, made.per_group, made.reader.truncate) == (0.3, 4, 1, True)
    assert Mixing.of(load([]), Letters(), []) is None


def test_rows_that_do_not_fit_are_refused_before_anything_starts(caplog):
    with pytest.raises(ConfigError, match=r"no row of data.train_files has a response in column 'offline_output'"):
        Mixing.of(load(ON), Letters(), [record()])
    with pytest.raises(DataError, match=r"rows.jsonl:1: offline response 0 goes on"):
        Mixing.of(load(ON), Letters(), [record(offline_responses=("a$b",))])
    Mixing.of(load(ON), Letters(), [record(offline_responses=("far too long", GOOD))])
    assert (
        "1 of 2 responses from the data have more than data.max_response_length=6 tokens and are left out"
        in caplog.text
    )


def test_an_importance_weighted_loss_needs_the_authors_probabilities():
    weighted = load([*ON, "worker.actor.off_policy_loss=importance"])
    known = record(offline_responses=("a",), offline_logprobs=((-1.0, -2.0),))
    assert Mixing.of(weighted, Letters(), [known, record()]) is not None
    with pytest.raises(DataError, match=r"1 rows, beginning with rows.jsonl:1, have none in column 'offline_logprobs'"):
        Mixing.of(weighted, Letters(), [known, record(offline_responses=("a",))])


def test_author_probabilities_are_known_where_the_row_has_them():
    known = prompt("r1", offline_responses=("a",), offline_logprobs=((-1.0, -2.0),))
    (row,) = mixing().candidates([known], 1)[0]
    assert row.knows_rollout_logprobs and np.array_equal(row.rollout_logprobs, np.float32([-1.0, -2.0]))
