# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One run on real processes: Ray, two FSDP2 ranks, vLLM, scorers. The tests look at what it did and left."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from tests.reward_models import tiny_reward_model
from tests.runs import arguments, make_world, read_metrics
from verl.checkpoint.merge import merge
from verl.config.checks import check
from verl.config.load import load
from verl.trainer.wiring import launched

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

NUM_STEPS = 3


@dataclass
class Trained:
    """What a finished run left behind."""

    directory: Path
    state: object
    saved: list[dict]  # fingerprint of every rank when the last checkpoint was written
    moved: list[dict]  # after one more update
    loaded: list[dict]  # after loading that checkpoint again
    next_rows: list[str]  # records of the batch after the last step
    resumed_rows: list[str]  # the same after going back to the checkpoint
    gap: float  # between the engine and the policy, after everything


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = make_world(tmp_path_factory.mktemp("training"))
    changes = ["trainer.max_steps=3", "trainer.val_before_train=true", "trainer.save_freq=3", "trainer.val_freq=2"]
    changes += ["trainer.val_generations_to_log=2", "algorithm.disable_kl=false", "algorithm.use_kl_loss=true"]
    changes += ["algorithm.kl_penalty=low_var_kl", "worker.actor.global_batch_size=4"]
    scorer = tiny_reward_model(directory / "scorer")
    changes += [f"worker.reward.model.model_path={scorer}", "worker.reward.model.dtype=fp32"]
    changes += ["worker.reward.model.weight=0.01"]
    config = load(arguments(directory, *changes))
    check(config)
    with launched(config) as trainer:
        state = trainer.fit()
        workers = trainer.policy.workers
        saved = workers.all("fingerprint")
        next_rows = [prompt.record.id for prompt in trainer.loader.next()]
        trainer._step(replace(state, step=97))  # neither validated nor saved
        moved = workers.all("fingerprint")
        trainer.checkpoints.policy.load(directory / "run" / "global_step_3" / "actor")
        trainer._restore(state)
        loaded = workers.all("fingerprint")
        resumed_rows = [prompt.record.id for prompt in trainer.loader.next()]
        trainer.rollout.sleep()
        trainer._publish(state.step)
        groups, _ = trainer.collector.collect(99)
        _, metrics = trainer.assembler.assemble(groups)
        gap = metrics["rollout/logprob_gap_max"].value
    return Trained(directory, state, saved, moved, loaded, next_rows, resumed_rows, gap)


@pytest.fixture(scope="module")
def steps(trained):
    return [row for row in read_metrics(trained.directory / "run") if "actor/pg_loss" in row]


def test_every_step_is_logged_once(steps):
    assert [row["step"] for row in steps[:NUM_STEPS]] == [1, 2, 3]


def test_trainer_and_engine_agree_on_every_sampled_token(trained, steps):
    assert all(row["rollout/logprob_gap_max"] < 1e-5 for row in steps)
    assert trained.gap < 1e-5


def test_a_clip_is_read_once_per_process_and_step(steps):
    assert all(row["media/loads_per_clip"] == 1.0 for row in steps)
    assert all(row["rollout/media_loads_per_clip"] == 1.0 for row in steps)


def test_the_weights_move_and_the_reference_stays(steps):
    assert steps[0]["actor/kl_loss"] == pytest.approx(0.0, abs=1e-9)
    assert steps[2]["actor/kl_loss"] > 1e-6
    assert all(row["actor/grad_norm"] > 0 for row in steps)


def test_a_users_reward_function_gives_signal_and_its_parts_are_logged(steps):
    assert all(row["groups/no_signal_share"] < 0.5 for row in steps)
    assert all(row["reward/length"] > 0 for row in steps)


def test_a_reward_model_adds_its_share_and_its_work_is_logged(steps):
    for row in steps:
        mixed = row["reward/rule_score"] + 0.01 * row["reward/model_score"]
        assert row["reward/overall"] == pytest.approx(mixed, abs=1e-6)
        assert row["reward_model/throughput"] > 0 and row["reward_model/lost_workers"] == 0
        assert row["reward/capacity"] > 0 and 0 <= row["reward/wait_share"] < 1


def test_validation_is_logged_before_during_and_after(trained):
    rows = read_metrics(trained.directory / "run")
    assert [row["step"] for row in rows if "val/reward_score" in row][:3] == [0, 2, 3]
    samples = (trained.directory / "run" / "generations.jsonl").read_text().splitlines()
    assert {"id", "problem", "response", "answer", "score", "step"} <= set(json.loads(samples[0]))


def test_loading_a_checkpoint_restores_every_bit(trained):
    differing = {
        name
        for saved, loaded in zip(trained.saved, trained.loaded, strict=True)
        for name in saved
        if saved[name] != loaded[name]
    }
    assert differing == set()
    assert trained.moved != trained.saved


def test_loading_a_checkpoint_restores_the_order_of_the_data(trained):
    assert trained.resumed_rows == trained.next_rows


def test_the_merged_model_is_the_policy(trained, tmp_path):
    folder = merge(trained.directory / "run" / "global_step_3" / "actor", tmp_path / "merged", None)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    before = load_file(trained.directory / "model" / "model.safetensors")
    after = load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert sum(p.numel() for p in model.parameters()) == sum(np.prod(t.shape) for t in before.values())


def test_the_tracker_names_the_last_checkpoint(trained):
    tracker = json.loads((trained.directory / "run" / "checkpoint_tracker.json").read_text())
    assert tracker["last_global_step"] == 3
    assert Path(tracker["last_actor_path"]).is_dir()
