# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from verl.config.checks import SAMPLING_KEYS, check, split_location
from verl.config.load import load
from verl.errors import ConfigError


@pytest.fixture
def valid(tmp_path: Path) -> list[str]:
    """Arguments that break no rule."""
    (tmp_path / "rows.json").touch()
    (tmp_path / "model").mkdir()
    return [
        f"data.train_files={tmp_path}/rows.json",
        f"data.val_files={tmp_path}/rows.json",
        f"worker.actor.model.model_path={tmp_path}/model",
        "worker.rollout.n=4",
    ]


def broken(arguments: list[str]) -> list[str]:
    try:
        check(load(arguments))
    except ConfigError as error:
        return str(error).splitlines()
    return []


def test_a_valid_configuration_breaks_no_rule(valid):
    assert broken(valid) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["data.rollout_batch_size=100"],
            "data.rollout_batch_size=100 is not a multiple of worker.actor.global",
        ),
        (
            ["worker.rollout.tensor_parallel_size=3"],
            "worker.rollout.tensor_parallel_size=3 does not divide the 8",
        ),
        (
            ["worker.rollout.tensor_parallel_size=16", "trainer.nnodes=2"],
            "worker.rollout.tensor_parallel_size=16 does not divide the 8 devices of trainer.n_gpus_per_node",
        ),
        (["worker.actor.max_token_len_per_gpu=1023"], "worker.actor.max_token_len_per_gpu=1023 is less than"),
        (
            ["worker.actor.max_token_len_per_gpu=511", "worker.actor.ulysses_size=2"],
            "worker.actor.max_token_len_per_gpu=511 (times worker.actor.ulysses_size=2) is less than",
        ),
        (["worker.actor.ulysses_size=0"], "worker.actor.ulysses_size=0: must be at least 1"),
        (["worker.rollout.max_model_len=1023"], "worker.rollout.max_model_len=1023 is less than"),
        (
            ["worker.rollout.max_num_batched_tokens=1023"],
            "worker.rollout.max_num_batched_tokens=1023 is less",
        ),
        (["worker.rollout.top_p=0"], "worker.rollout.top_p=0.0: must be above 0"),
        (["worker.rollout.top_k=0"], "worker.rollout.top_k=0: must be at least 1, or -1"),
        (["worker.rollout.temperature=0"], "worker.rollout.temperature=0.0: must be above 0"),
        (["worker.rollout.gpu_memory_utilization=1.5"], "worker.rollout.gpu_memory_utilization=1.5: must be"),
        (
            ["worker.rollout.val_override_config.temperatur=1"],
            "worker.rollout.val_override_config.temperatur: not a sampling key; did you mean 'temperature'?",
        ),
        (["worker.actor.clip_ratio_low=0"], "worker.actor.clip_ratio_low=0.0: must be above 0"),
        (["worker.actor.clip_ratio_low=1.1"], "worker.actor.clip_ratio_low=1.1: must be above 0 and at most 1"),
        (["worker.actor.clip_ratio_dual=1"], "worker.actor.clip_ratio_dual=1.0: must be above 1"),
        (["worker.actor.optim.lr=-1"], "worker.actor.optim.lr=-1.0: must not be negative"),
        (["worker.actor.optim.lr=.nan"], "worker.actor.optim.lr=nan: must not be negative"),
        (["worker.actor.optim.betas=[0.9,1.0]"], "worker.actor.optim.betas=[0.9, 1.0]: both must be"),
        (["worker.actor.optim.lr_warmup_ratio=2"], "worker.actor.optim.lr_warmup_ratio=2.0: is a share"),
        (["trainer.save_freq=0"], "trainer.save_freq=0: must be at least 1, or -1"),
        (["trainer.val_freq=-2"], "trainer.val_freq=-2: must be at least 1, or -1"),
        (["trainer.max_steps=0"], "trainer.max_steps=0: must be at least 1"),
        (["data.video_max_frames=2"], "data.video_: min_frames=4 is more than max_frames=2"),
        (["data.video_max_pixels=1000"], "data.video_: min_pixels=262144 is more than max_pixels=1000"),
        (["data.val_video_max_pixels=9"], "data.val_video_ (or data.video_): min_pixels=262144 is more than"),
        (["data.image_max_pixels=9"], "data.image_: min_pixels=262144 is more than max_pixels=9"),
        (["data.val_image_max_pixels=9"], "data.val_image_ (or data.image_): min_pixels=262144 is more than"),
        (["data.image_min_pixels=0"], "data.image_min_pixels=0: must be at least 1"),
        (["data.mix_ratios=[1,2]"], "data.mix_ratios=[1.0, 2.0]: 1 entries in data.train_files;"),
        (["data.mix_ratios=[0]"], "data.mix_ratios=[0.0]: all must be above 0"),
        (["data.mix_ratios=[.nan]"], "data.mix_ratios=[nan]: all must be above 0"),
        (["data.train_files=some/dir/rows"], "data.train_files=some/dir/rows: there is no such file or folder"),
        (["data.train_files=some/rows.parquet"], "data.train_files=some/rows.parquet: there is no such file"),
        (["worker.reward.accuracy_weight=0.95"], "worker.reward.accuracy_weight=0.95 and"),
        (
            ["worker.reward.reward_function=no.py:f"],
            "worker.reward.reward_function=no.py:f: there is no file no.py",
        ),
        (
            ["worker.reward.reward_function=no.py"],
            "worker.reward.reward_function=no.py: there is no file no.py",
        ),
        (["worker.actor.model.model_path=null"], "worker.actor.model.model_path is not set"),
        (
            ["worker.actor.model.model_path=./no"],
            "worker.actor.model.model_path=./no: there is no such folder",
        ),
        (["data.format_prompt=no.jinja"], "data.format_prompt=no.jinja: there is no such path"),
        (["data.image_dir=no"], "data.image_dir=no: there is no such path"),
        (["trainer.load_checkpoint_path=no"], "trainer.load_checkpoint_path=no: there is no such path"),
        (
            ["data.train_files=no.json@train"],
            "data.train_files=no.json@train: there is no such file or folder",
        ),
        (["data.train_files=[]"], "data.train_files is empty"),
        (["data.val_files=[]"], "data.val_files is empty"),
        (
            ["data.video_source_mode=preprocessed_only"],
            "data.preprocessed_video_dir=None: data.video_source_mode=preprocessed_only needs",
        ),
        (
            ["data.val_video_source_mode=preprocessed_only"],
            "data.val_preprocessed_video_dir=None: data.val_video_source_mode=preprocessed_only needs",
        ),
        (
            ["algorithm.gdpo_reward_weights=[1,2,3]"],
            "algorithm.gdpo_reward_weights=[1.0, 2.0, 3.0]: 2 entries in algorithm.gdpo_reward_keys; give a weight",
        ),
        (["algorithm.gdpo_reward_weights=[1,.nan]"], "algorithm.gdpo_reward_weights=[1.0, nan]: all must be finite"),
        (["algorithm.ema_decay=1.5"], "algorithm.ema_decay=1.5: must be at least 0 and at most 1"),
        (["algorithm.gamma=-1"], "algorithm.gamma=-1.0: must be at least 0 and at most 1"),
        (
            ["algorithm.online_filtering=true", "algorithm.filter_mode=band", "algorithm.filter_low=0.99"],
            "algorithm.filter_low=0.99: must be below algorithm.filter_high=0.99",
        ),
        (
            ["algorithm.filter_low=0.2"],
            "algorithm.filter_low=0.2 and algorithm.filter_high=0.99 are for groups chosen by their mean",
        ),
        (
            ["worker.rollout.enable_mix_policy=true", "worker.rollout.n=1"],
            "worker.rollout.mix_policy_max_responses=1: must be at least 1 and less than worker.rollout.n=1",
        ),
        (
            ["worker.rollout.enable_mix_policy=true", "worker.rollout.mix_policy_accuracy_threshold=1.5"],
            "worker.rollout.mix_policy_accuracy_threshold=1.5: is an accuracy",
        ),
        (["data.mini_rollout_batch_size=0"], "data.mini_rollout_batch_size=0: must be at least 1"),
        (
            ["worker.actor.ulysses_size=3"],
            "worker.actor.ulysses_size=3 does not divide the 8 devices of",
        ),
    ],
)
def test_a_broken_rule_names_the_key_and_its_value(valid, arguments: list[str], message: str):
    assert any(line.startswith(message) for line in broken([*valid, *arguments])), broken([*valid, *arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        ["data.val_files=[]", "trainer.val_before_train=false"],
        ["worker.rollout.tensor_parallel_size=3", "trainer.device=cpu"],
        ["worker.actor.fsdp.fsdp_size=0"],
        ["worker.rollout.max_num_batched_tokens=64", "worker.rollout.enable_chunked_prefill=true"],
        ["worker.actor.model.model_path=org/name-on-a-hub"],
        ["worker.critic.ulysses_size=4", "worker.critic.padding_free=true"],
        ["worker.actor.max_token_len_per_gpu=512", "worker.actor.ulysses_size=2"],
        ["algorithm.adv_estimator=mine.py:advantage"],
        ["algorithm.gdpo_reward_weights=[1,0.5]"],
        ["worker.actor.loss_type=mine.py:loss"],
        ["data.preprocessed_video_dir=not_yet_there"],
        ["data.min_pixels=null", "data.max_pixels=null"],
        ["data.mix_ratios=[3]"],
        ["data.mix_ratios=null"],
        ["data.train_files=owner/dataset@train"],
    ],
)
def test_what_steers_nothing_here_breaks_no_rule(valid, arguments: list[str]):
    assert broken([*valid, *arguments]) == []


def test_all_broken_rules_are_reported_at_once(valid):
    lines = broken([*valid, "trainer.nnodes=0", "data.rollout_batch_size=100", "data.val_files=[]"])
    assert len(lines) == 3


def test_a_split_is_what_follows_the_last_at_sign(tmp_path):
    (tmp_path / "a@b.json").touch()
    assert split_location("rows.json@train") == ("rows.json", "train")
    assert split_location("some@host/rows.json") == ("some@host/rows.json", None)
    assert split_location(f"{tmp_path}/a@b.json") == (f"{tmp_path}/a@b.json", None)
    assert split_location(f"{tmp_path}/a@b.json@val") == (f"{tmp_path}/a@b.json", "val")


def test_the_sampling_keys_are_those_of_the_engine():
    engine = pytest.importorskip("verl.rollout.engine")
    from dataclasses import fields

    assert {field.name for field in fields(engine.SamplingPlan)} == SAMPLING_KEYS


def test_an_optimizer_whose_package_is_missing_names_the_extra(valid, monkeypatch):
    monkeypatch.setattr("verl.config.checks.find_spec", lambda name: None)
    (message,) = broken([*valid, "worker.actor.optim.strategy=adamw_8bit"])
    assert message.startswith("worker.actor.optim.strategy=adamw_8bit needs torchao")
    assert message.endswith("pip install 'verl[adamw8bit]'")
