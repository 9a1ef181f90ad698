# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The queue before scoring processes, with processes and time made by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from tests.rows import prompt, trajectory
from verl.cluster.group import Call
from verl.errors import ContractError, WorkerError
from verl.tracking.metrics import values
from verl.trainer import reward_models, scorers
from verl.trainer.reward_models import JointRewards, Shares, joined
from verl.trainer.scorers import CallStyle, RewardHandle
from verl.types import NotScorable, Score
from verl.workers.reward import Timed

SECONDS_PER_ROW = 2.0


@dataclass
class Machine:
    """A clock, and the calls that end as it goes on."""

    now: float = 0.0
    ends: dict = field(default_factory=dict)  # ref -> (when, value)

    def first_done(self, refs, timeout):
        if refs and timeout > 0:
            self.now = max(self.now, min(self.now + timeout, *(self.ends[ref][0] for ref in refs)))
        return [ref for ref in refs if self.ends[ref][0] <= self.now]

    def value_or_death(self, call):
        value = self.ends[call.ref][1]
        return (None, value) if isinstance(value, WorkerError) else (value, None)


@dataclass
class Processes:
    """Scorers that take two seconds for a row and say how long its text is; "die" ends one, "hang" takes for ever."""

    machine: Machine
    size: int
    calls: list = field(default_factory=list)
    replaced: list = field(default_factory=list)
    part: str = "length"

    def __len__(self):
        return self.size

    def start(self, worker, method, rows):
        texts = [row.text if hasattr(row, "text") else row.response for row in rows]
        self.calls.append((worker, texts))
        ref = (id(self), len(self.calls))
        seconds = 1e9 if "hang" in texts else SECONDS_PER_ROW * len(texts)
        scores = [Score(overall=float(len(text)), parts={self.part: float(len(text))}) for text in texts]
        value = WorkerError("gone") if "die" in texts else Timed(verdicts=scores, seconds=seconds)
        self.machine.ends[ref] = (self.machine.now + seconds, value)
        return Call(ref, f"scorer {worker}: {method}")

    def replace(self, worker):
        self.replaced.append(worker)


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    for module in (scorers, reward_models):
        monkeypatch.setattr(module, "first_done", machine.first_done)
    monkeypatch.setattr(scorers, "value_or_death", machine.value_or_death)
    monkeypatch.setattr(scorers, "time", SimpleNamespace(monotonic=lambda: machine.now))
    return machine


def row(text, group=0, index=0):
    return replace(trajectory(group, index, of=prompt(f"r{group}")), text=text)


def handle(machine, size=1, batch_size=1, **style):
    processes = Processes(machine, size)
    made = RewardHandle(processes, batch_size=batch_size, timeout_seconds=100.0, style=CallStyle(**style))
    return made, processes


def overall(rows):
    return [one.verdict.overall if isinstance(one.verdict, Score) else None for one in rows]


def test_what_waits_is_handed_over_together_up_to_the_limit(machine):
    rewards, processes = handle(machine, max_rows=3)
    for index, text in enumerate(["a", "bb", "ccc", "dddd", "eeeee"]):
        rewards.submit(row(text, index=index))
    assert overall(rewards.collect()) == [1, 2, 3, 4, 5]
    assert [texts for _, texts in processes.calls] == [["a"], ["bb", "ccc", "dddd"], ["eeeee"]]


def test_siblings_are_never_torn_apart(machine):
    rewards, processes = handle(machine, batch_size=2, max_rows=3)
    for group in range(3):
        for index in range(2):
            rewards.submit(row("x" * (2 * group + index + 1), group, index))
    assert overall(rewards.collect()) == [1, 2, 3, 4, 5, 6]
    assert [len(texts) for _, texts in processes.calls] == [2, 2, 2]


def test_the_numbers_of_a_round_with_two_processes(machine):
    rewards, _ = handle(machine, size=2)
    for index in range(3):
        rewards.submit(row("ab", index=index))
        machine.now += 0.5
    rewards.collect()
    assert values(rewards.drain_metrics()) == {
        "reward/lost_workers": 0,
        "reward/queue_seconds/mean": pytest.approx(
            (0 + 0 + 1.0) / 3
        ),  # the third came at 1.0, a process was free at 2.0
        "reward/queue_seconds/max": pytest.approx(1.0),
        "reward/capacity": pytest.approx(3 * 2 / 6.0),
        "reward/multiple_choice/seconds": pytest.approx(2.0),
        "reward/throughput": pytest.approx(3 / 4.0),
    }


@pytest.mark.parametrize(("text", "reason"), [("die", "died"), ("hang", "no answer within 100 s")])
def test_a_process_that_is_lost_costs_its_call_and_is_counted(machine, text, reason):
    rewards, processes = handle(machine, max_rows=2)
    for index, said in enumerate(["a", text, "bb", "ccc"]):
        rewards.submit(row(said, index=index))
    rows = rewards.collect()
    assert overall(rows) == [1, None, None, 3]
    assert reason in rows[1].verdict.reason and processes.replaced == [0]
    assert values(rewards.drain_metrics())["reward/lost_workers"] == 1


def test_rules_and_model_work_side_by_side(machine):
    rule, rule_processes = handle(machine, batch_size=4)
    model, model_processes = handle(machine, prefix="reward_model", item=lambda row: row)
    model_processes.part = "model_score"
    rewards = JointRewards(rule, model, Shares(rule=0.5, model=2.0))
    for index, text in enumerate(["a", "bb", "ccc", "dddd"]):
        rewards.submit(row(text, index=index))
    assert overall(rewards.collect()) == [2.5, 5.0, 7.5, 10.0]
    assert len(rule_processes.calls) == 1 and len(model_processes.calls) == 4
    assert machine.now == pytest.approx(8.0)  # each needs 8 seconds, and neither waits for the other


def test_the_metrics_of_both_are_drained(machine):
    rule, _ = handle(machine)
    model, _ = handle(machine, prefix="reward_model")
    names = JointRewards(rule, model, Shares(rule=1, model=1)).drain_metrics()
    assert set(names) == {"reward/lost_workers", "reward_model/lost_workers"}


RULE = Score(overall=0.5, parts={"accuracy": 1.0})
MODEL = Score(overall=0.25, parts={"model_score": -1.1})
NONE = NotScorable(reason="none")


def test_scores_add_up_and_parts_are_kept():
    verdict = joined(RULE, MODEL, Shares(rule=0.5, model=-2.0))
    assert verdict.overall == 0.5 * 0.5 - 2.0 * 0.25
    assert verdict.parts == {"accuracy": 1.0, "rule_score": 0.5, "model_score": -1.1}
    assert joined(RULE, MODEL, Shares(rule=0.0, model=1.0)).overall == 0.25
    assert joined(RULE, MODEL, Shares(rule=1.0, model=0.0)).overall == 0.5


def test_without_a_verdict_of_either_there_is_none():
    for shares in (Shares(rule=1.0, model=1.0), Shares(rule=1.0, model=0.0), Shares(rule=0.0, model=1.0)):
        assert joined(RULE, NONE, shares) is NONE
    assert joined(NONE, MODEL, Shares(rule=0.1, model=1.0)) is NONE


def test_a_reward_function_cannot_name_a_part_as_the_model_does():
    with pytest.raises(ContractError, match=r"'model_score'.*give it another name"):
        joined(Score(overall=1.0, parts={"model_score": 1.0}), MODEL, Shares(rule=1.0, model=1.0))


def test_rules_of_no_weight_may_be_silent():
    assert joined(NONE, MODEL, Shares(rule=0.0, model=2.0)) == Score(overall=0.5, parts={"model_score": -1.1})
