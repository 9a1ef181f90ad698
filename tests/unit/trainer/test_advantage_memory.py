# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What an estimator remembers from step to step is part of a checkpoint."""

import json
from dataclasses import replace

from tests.unit.trainer.test_loop import build, schedule
from verl.algorithms.advantage import Advantage, find_advantage
from verl.algorithms.contract import AdvantageOutput
from verl.trainer.state import TrainState


def count_steps(x):
    advantages = AdvantageOutput.broadcast(x.scores, x.mask)
    return replace(advantages, memory={"steps": x.memory.get("steps", 0) + 1})


def trainer_with(advantage, tmp_path, steps):
    trainer, _, _ = build(tmp_path, schedule=schedule(total_steps=steps))
    trainer.assembler = replace(trainer.assembler, advantage=advantage)
    return trainer


def test_a_resumed_run_remembers_what_the_first_one_did(tmp_path):
    counting = Advantage("counting", count_steps)
    trainer_with(counting, tmp_path, 2).fit()
    resumed = trainer_with(counting, tmp_path, 5)
    resumed.fit()
    assert resumed.assembler.memory == {"counting": {"steps": 5}}


def test_another_estimator_starts_from_nothing(tmp_path):
    trainer_with(Advantage("counting", count_steps), tmp_path, 2).fit()
    other = trainer_with(Advantage("other", count_steps), tmp_path, 3)
    other.fit()
    assert other.assembler.memory["other"] == {"steps": 1}


def test_ema_grpo_is_told_the_task_of_every_row(tmp_path):
    trainer = trainer_with(find_advantage("ema_grpo"), tmp_path, 2)
    trainer.fit()
    assert trainer.assembler.memory == {"ema_grpo": {"multiple choice": {"mean": 0.25, "square": 0.25}}}


def test_a_state_without_memory_is_read_too():
    state = TrainState(step=3, advantage={"ema_grpo": {"ocr": {"mean": 0.1, "square": 0.2}}})
    written = json.loads(json.dumps(state.to_json()))
    assert TrainState.from_json(written).advantage == state.advantage
    del written["advantage"]
    assert TrainState.from_json(written).advantage == {}
