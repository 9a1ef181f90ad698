# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import fields, replace

import pytest

from tests.rows import prompt
from tests.unit.trainer.fakes import FakeLoader, FakePolicy, FakeRewards, FakeRollout
from verl.algorithms.advantage import Advantage, find_advantage
from verl.algorithms.contract import AdvantageOutput, AlgorithmSettings
from verl.algorithms.correction import Bounds, Correction
from verl.algorithms.kl import AdaptiveKl
from verl.checkpoint.layout import CheckpointRoot, read_state
from verl.errors import ContractError, DataError, NoSignal
from verl.rollout.engine import SamplingPlan
from verl.tracking.tracker import Trackers
from verl.trainer.checkpoints import Checkpoints
from verl.trainer.clock import Clock
from verl.trainer.collect import Collector
from verl.trainer.experience import Assembler
from verl.trainer.filtering import GroupFilter
from verl.trainer.loop import Limits, Schedule, Trainer
from verl.trainer.progress import Progress
from verl.trainer.validate import Validator
from verl.types import NotScorable, Score


class Memory:
    """A tracker backend that remembers."""

    def __init__(self):
        self.logged = []
        self.samples = []
        self.resumed = None

    def resume(self, step):
        self.resumed = step

    def log(self, values, step):
        self.logged.append((step, dict(values)))

    def generations(self, rows, step):
        self.samples.append((step, rows))

    def close(self):
        pass


def build(tmp_path, *, schedule, loader=None, use_reference=False, save_limit=-1):
    diary = []
    policy, rollout = FakePolicy(diary), FakeRollout(diary)
    memory, clock = Memory(), Clock()
    loader = loader or FakeLoader(batch_size=4)
    plan = SamplingPlan(n=4, max_tokens=8, seed=3)
    trackers = Trackers([memory])
    trainer = Trainer(
        loader=loader,
        collector=Collector(
            prompts=loader, rollout=rollout, rewards=FakeRewards(), plan=plan, num_prompts=4, clock=clock
        ),
        assembler=Assembler(
            policy=policy,
            advantage=find_advantage("grpo"),
            settings=AlgorithmSettings(components=()),
            kl=None,
            use_reference=use_reference,
            shares_prompts=True,
            groups_per_update=2,
            clock=clock,
        ),
        policy=policy,
        rollout=rollout,
        validator=Validator(
            prompts=[prompt("v0"), prompt("v1"), prompt("v2")],
            batch_size=2,
            plan=plan.override({"n": 1}),
            rollout=rollout,
            rewards=FakeRewards(),
            trackers=trackers,
            num_generations=2,
            clock=clock,
        ),
        checkpoints=Checkpoints(
            root=CheckpointRoot(tmp_path),
            policy=policy,
            limit=save_limit,
            resume_from=None,
            find_last=True,
            announce=lambda message: None,
        ),
        trackers=trackers,
        kl=None,
        progress=Progress(schedule.total_steps, enabled=False),
        schedule=schedule,
        limits=Limits(max_prompt_length=5, max_response_length=8, num_devices=2),
        clock=clock,
    )
    return trainer, memory, diary


def schedule(**changes):
    base = {"total_steps": 2, "val_freq": -1, "save_freq": -1, "val_before_train": False, "val_only": False}
    return Schedule(**(base | changes))


def test_a_step_generates_sleeps_weighs_updates_and_publishes_in_that_order(tmp_path):
    trainer, _, diary = build(tmp_path, schedule=schedule(total_steps=1), use_reference=True)
    trainer.fit()
    start = ["sleep", "wake_weights", ("publish", 0), "wake_cache"]
    step = ["generate", "sleep", "logprobs", "ref_logprobs", ("update", [8, 8])]
    after = ["wake_weights", ("publish", 1), "wake_cache", "generate", "generate", ("save", "actor")]
    assert diary == start + step + after


def test_every_step_logs_health_reward_and_time(tmp_path):
    trainer, memory, _ = build(tmp_path, schedule=schedule())
    trainer.fit()
    numbers = dict(memory.logged)[1]
    assert numbers["rollout/logprob_gap_max"] == 0.0
    assert numbers["groups/no_signal_share"] == 0.0
    assert numbers["reward/overall"] == pytest.approx(0.25)
    assert numbers["perf/total_num_tokens"] == 4 * 4 * (5 + 3)
    assert numbers["prompt_length/clip_ratio"] == 1.0
    assert numbers["perf/memory_after_sleep_gb"] == 5.0
    assert {"timing_s/gen", "timing_s/old", "timing_s/update_actor", "timing_s/sync", "timing_s/step"} <= set(numbers)


def test_the_gap_between_trainer_and_engine_is_what_they_differ_by(tmp_path):
    trainer, memory, _ = build(tmp_path, schedule=schedule(total_steps=1))
    trainer.policy.gap = 0.125
    trainer.fit()
    assert dict(memory.logged)[1]["rollout/logprob_gap_max"] == pytest.approx(0.125)


def test_an_adaptive_weight_of_the_kl_in_the_loss_reaches_the_workers(tmp_path):
    """The first update has the configured weight, the second one that saw the first step's KL of 1."""
    trainer, memory, _ = build(tmp_path, schedule=schedule(), use_reference=True)
    kl = AdaptiveKl("kl", 0.5, target=0.1, horizon=32)
    trainer.kl = kl
    trainer.assembler = replace(trainer.assembler, kl=kl, kl_in_reward=False)
    trainer.fit()
    assert trainer.policy.kl_coefs == pytest.approx([0.5, 0.5 * (1 + 0.2 * 16 / 32)])
    assert dict(memory.logged)[1]["actor/kl_at_start"] == pytest.approx(1.0)
    assert dict(memory.logged)[1]["critic/rewards/mean"] == dict(memory.logged)[1]["reward/overall"]


def test_while_the_policy_stands_still_an_adaptive_weight_does_too(tmp_path):
    trainer, _, _ = build(tmp_path, schedule=schedule(total_steps=4, critic_warmup=2), use_reference=True)
    trainer.kl = AdaptiveKl("kl", 0.5, target=10.0, horizon=32)  # the KL of 1 is below
    trainer.assembler = replace(trainer.assembler, kl=trainer.kl, kl_in_reward=False)
    trainer.fit()
    assert trainer.policy.kl_coefs == pytest.approx([0.5, 0.45]) and trainer.kl.coef == pytest.approx(0.405)


def test_corrected_rows_carry_their_weights_to_the_update(tmp_path):
    trainer, memory, _ = build(tmp_path, schedule=schedule(total_steps=1))
    trainer.policy.gap = 0.5
    trainer.assembler = replace(trainer.assembler, correction=Correction(level="token", bounds=Bounds(high=1.25)))
    trainer.fit()
    sent = [row.weights.tolist() for deal in trainer.policy.updates for hand in deal.hands for row in hand]
    assert sent and all(weights == [1.25] * len(weights) for weights in sent)
    assert dict(memory.logged)[1]["rollout/ratio_clipped_share"] == 1.0


def test_validation_runs_before_during_and_after(tmp_path):
    trainer, memory, _ = build(tmp_path, schedule=schedule(total_steps=3, val_freq=2, val_before_train=True))
    trainer.fit()
    assert [step for step, numbers in memory.logged if "val/reward_score" in numbers] == [0, 2, 3]
    assert [len(rows) for _, rows in memory.samples] == [2, 2, 2]


def test_val_only_trains_nothing(tmp_path):
    trainer, _, diary = build(tmp_path, schedule=schedule(val_only=True))
    assert trainer.fit().step == 0
    assert not any(isinstance(entry, tuple) and entry[0] == "update" for entry in diary)


def test_every_step_samples_with_a_seed_of_its_own(tmp_path):
    trainer, _, _ = build(tmp_path, schedule=schedule(total_steps=3))
    trainer.fit()
    seeds = [plan.seed for plan in trainer.rollout.plans if plan.n == 4]
    assert len(set(seeds)) == 3


def test_a_resumed_run_goes_on_with_the_next_rows_and_seed(tmp_path):
    first, _, _ = build(tmp_path, schedule=schedule(total_steps=2))
    first.fit()
    second, memory, diary = build(tmp_path, schedule=schedule(total_steps=3))
    assert second.fit().step == 3
    assert ("load", "global_step_2") in diary
    assert memory.resumed == 2
    assert second.loader.position == 12
    whole, _, _ = build(tmp_path / "other", schedule=schedule(total_steps=3))
    whole.fit()
    assert second.rollout.plans[0].seed == [plan for plan in whole.rollout.plans if plan.n == 4][-1].seed


def test_the_best_checkpoint_survives_pruning(tmp_path):
    trainer, _, _ = build(tmp_path, schedule=schedule(total_steps=4, val_freq=1, save_freq=1), save_limit=2)
    trainer.fit()
    kept = sorted(path.name for path in tmp_path.glob("global_step_*"))
    assert kept == ["global_step_1", "global_step_4"]


def test_bad_data_in_the_middle_of_a_run_saves_what_was_learned_before(tmp_path):
    class Spoiled(FakeLoader):
        def next(self):
            if self.position == 8:
                raise DataError("rows.jsonl:9: unreadable")
            return super().next()

    trainer, _, _ = build(tmp_path, schedule=schedule(total_steps=5), loader=Spoiled(batch_size=4))
    with pytest.raises(DataError, match=r"rows.jsonl:9"):
        trainer.fit()
    assert [path.name for path in tmp_path.glob("global_step_*")] == ["global_step_2"]


def filtering(trainer, **changes):
    """Let the trainer fill its steps with prompts of odd numbers."""

    class Odd(FakeRewards):
        def collect(self):
            rows = super().collect()
            dull = Score(overall=0.0, parts={"accuracy": 0.0})
            return [row if int(row.trajectory.prompt.record.id[1:]) % 2 else replace(row, verdict=dull) for row in rows]

    trainer.collector.rewards = Odd()
    trainer.collector.filter = GroupFilter(keys=("overall",))
    for name, value in changes.items():
        setattr(trainer.collector, name, value)
    return trainer


def trained_rows(trainer):
    """Records of every step's batch."""
    batches = []

    class Watched(Collector):
        def collect(self, step):
            groups, metrics = super().collect(step)
            batches.append([group[0].trajectory.prompt.record.id for group in groups])
            return groups, metrics

    trainer.collector = Watched(**{field.name: getattr(trainer.collector, field.name) for field in fields(Collector)})
    trainer.fit()
    return batches


def test_a_resumed_run_trains_on_what_the_last_step_had_left_over(tmp_path):
    def steps(folder, total):
        loader = FakeLoader(batch_size=10)  # five groups of each batch teach, a step takes four
        trainer, _, _ = build(folder, schedule=schedule(total_steps=total), loader=loader)
        return trained_rows(filtering(trainer))

    whole = steps(tmp_path / "whole", 4)
    assert steps(tmp_path / "parts", 2) + steps(tmp_path / "parts", 4) == whole
    assert [row for batch in whole for row in batch] == [f"r{number}" for number in range(1, 32, 2)]


def test_a_step_that_cannot_be_filled_saves_what_was_learned_and_goes_back_to_its_first_row(tmp_path):
    class Dry(FakeLoader):
        def next(self):
            prompts = super().next()
            return prompts if self.position <= 16 else [prompt("r1"), *[prompt("r0")] * 3]

    trainer, _, _ = build(tmp_path, schedule=schedule(total_steps=5), loader=Dry(batch_size=4))
    with pytest.raises(NoSignal, match="2 rounds of generation"):
        filtering(trainer, max_rounds=2).fit()
    assert [path.name for path in tmp_path.glob("global_step_*")] == ["global_step_2"]
    assert trainer.loader.position == 16 and trainer.collector.surplus == []


class Failing:
    """An estimator that remembers its steps and breaks in the third."""

    def __init__(self, how):
        self.how = how

    def __call__(self, x):
        steps = x.memory.get("steps", 0) + 1
        if steps == 3:
            return self.how(x)
        return replace(AdvantageOutput.broadcast(x.scores, x.mask), memory={"steps": steps})


def divide(x):
    return 1 / 0


def not_numbers(x):
    rows = x.rewards * float("nan")
    return AdvantageOutput(advantages=rows, returns=rows, memory={"steps": 3})


@pytest.mark.parametrize(("how", "message"), [(divide, "'mine' raised ZeroDivisionError"), (not_numbers, "not finite")])
def test_an_advantage_that_breaks_saves_what_was_learned_before(tmp_path, how, message):
    trainer, _, _ = build(tmp_path, schedule=schedule(total_steps=5), use_reference=True)
    trainer.kl = AdaptiveKl("kl", 0.5, target=0.1, horizon=32)
    advantage = Advantage("mine", Failing(how))
    trainer.assembler = replace(trainer.assembler, advantage=advantage, kl=trainer.kl, kl_in_reward=False)
    with pytest.raises(ContractError, match=message):
        trainer.fit()
    (saved,) = tmp_path.glob("global_step_*")
    state = read_state(saved)
    assert (saved.name, state["loader"]) == ("global_step_2", {"position": 8})
    assert state["advantage"] == {"mine": {"steps": 2}} and state["kl"] == {"coef": pytest.approx(0.5 * 1.1**2)}


def test_a_step_without_a_verdict_saves_what_was_learned_before(tmp_path):
    class Silent(FakeRewards):
        def collect(self):
            rows = super().collect()
            late = any(row.trajectory.prompt.record.id == "r8" for row in rows)
            return [replace(row, verdict=NotScorable(reason="no judge")) for row in rows] if late else rows

    trainer, _, _ = build(tmp_path, schedule=schedule(total_steps=5))
    trainer.collector.rewards = Silent()
    with pytest.raises(NoSignal, match="could be scored"):
        trainer.fit()
    assert [path.name for path in tmp_path.glob("global_step_*")] == ["global_step_2"]
