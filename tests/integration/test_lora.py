# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One run that trains adapters on language model and vision tower, and sends the engine these alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.device_mesh import init_device_mesh
from transformers import AutoModelForImageTextToText

from tests import policy_world
from tests.runs import arguments, make_world, read_metrics
from verl.checkpoint.merge import export_adapter, merge
from verl.config.checks import check
from verl.config.load import load
from verl.fsdp.packing import Packer
from verl.fsdp.patches import PatchCache
from verl.fsdp.policy import FrozenPolicy
from verl.media.source import ClipReader
from verl.models.adapter import load_adapter
from verl.trainer.groups import Group
from verl.trainer.wiring import launched

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

LORA = [
    "worker.actor.model.lora.rank=4",
    "worker.actor.model.lora.sync=adapter",
    "worker.actor.optim.lr=1e-2",
    "worker.actor.global_batch_size=4",
    "algorithm.disable_kl=false",
    "algorithm.use_kl_loss=true",
    "trainer.max_steps=2",
    "data.val_files=[]",
    "trainer.val_freq=-1",
]


@dataclass
class Trained:
    """What a run of two steps left behind."""

    directory: Path
    groups: list[Group]  # sampled with the last weights
    gap: float  # between engine and policy on these
    saved: list[dict]
    moved: list[dict]
    loaded: list[dict]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = make_world(tmp_path_factory.mktemp("lora"))
    config = load(arguments(directory, *LORA))
    check(config)
    with launched(config) as trainer:
        state = trainer.fit()
        groups, _ = trainer.collector.collect(99)
        trainer.rollout.sleep()
        _, metrics = trainer.assembler.assemble(groups)
        workers = trainer.policy.workers
        saved = workers.all("fingerprint")
        trainer._publish(state.step)
        trainer._step(replace(state, step=97))
        moved = workers.all("fingerprint")
        trainer._restore(trainer.checkpoints.resume())
        loaded = workers.all("fingerprint")
    return Trained(directory, groups, metrics["rollout/logprob_gap_max"].value, saved, moved, loaded)


@pytest.fixture
def actor(trained):
    return trained.directory / "run" / "global_step_2" / "actor"


def test_trainer_and_engine_agree_although_only_adapters_travel(trained):
    steps = [row for row in read_metrics(trained.directory / "run") if "actor/pg_loss" in row]
    assert [row["step"] for row in steps][:2] == [1, 2]
    assert all(row["rollout/logprob_gap_max"] < 1e-5 for row in steps)
    assert trained.gap < 1e-5


def test_the_reference_is_the_model_without_adapters(trained):
    first, second = [row for row in read_metrics(trained.directory / "run") if "actor/pg_loss" in row][:2]
    assert first["actor/kl_loss"] == 0.0
    assert second["actor/kl_loss"] > 1e-4


def test_the_merged_model_says_what_the_engine_said(trained, actor, tmp_path):
    folder = merge(actor, tmp_path / "merged")
    policy_world.one_rank(tmp_path)
    family = load_adapter(str(folder))
    packer = Packer(adapter=family, patches=PatchCache(ClipReader(), family, policy_world.FAR), shared_prompt=True)
    model = FrozenPolicy(packer, policy_world.policy_settings(trainable=False), init_device_mesh("cpu", (1,)))
    rows = [scored.trajectory for group in trained.groups for scored in group]
    gaps = [np.abs(found - row.rollout_logprobs).max() for row, found in zip(rows, model.logprobs(rows), strict=True)]
    assert max(gaps) < 1e-5
    before, after = (load_file(path / "model.safetensors") for path in (trained.directory / "model", folder))
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(".visual." in name for name in moved) and any(".language_model." in name for name in moved)


def test_peft_reads_the_exported_adapters(trained, actor, tmp_path):
    base = AutoModelForImageTextToText.from_pretrained(trained.directory / "model", dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(base, export_adapter(actor, tmp_path / "adapter")).merge_and_unload()
    merged = AutoModelForImageTextToText.from_pretrained(merge(actor, tmp_path / "merged"), dtype=torch.float32)
    assert all(torch.equal(weight, merged.get_parameter(name)) for name, weight in model.named_parameters())


def test_loading_a_checkpoint_restores_every_bit(trained):
    assert trained.moved != trained.saved
    differing = [
        {name for name in saved if saved[name] != loaded[name]}
        for saved, loaded in zip(trained.saved, trained.loaded, strict=True)
    ]
    assert differing == [set()] * 2
