# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Every key that users of upstream may have written is still understood."""

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import verl
from verl.config.checks import check
from verl.config.compat import RENAMED
from verl.config.keys import read
from verl.config.load import KEYS, load
from verl.config.support import CRITIC_ONLY, NO_EFFECT, ONLY
from verl.config.trainer import Config
from verl.errors import ConfigError

UPSTREAM = (Path(__file__).parent / "upstream_keys.txt").read_text().split()

# The values of the two recipes upstream publishes; "PLACEHOLDER" where they leave a path to the user.
COMMON = {
    "data.train_files": "PLACEHOLDER",
    "data.val_files": "PLACEHOLDER",
    "data.prompt_key": "problem",
    "data.answer_key": "answer",
    "data.image_key": "images",
    "data.video_key": "videos",
    "data.video_fps": 2.0,
    "data.video_max_frames": 128,
    "data.mini_rollout_batch_size": None,
    "data.override_chat_template": None,
    "data.shuffle": False,
    "data.image_max_pixels": 1048576,
    "data.video_max_pixels": 262144,
    "data.format_prompt": "PLACEHOLDER",
    "algorithm.adv_estimator": "grpo",
    "algorithm.disable_kl": True,
    "algorithm.kl_penalty": "low_var_kl",
    "algorithm.kl_coef": 1.0e-2,
    "algorithm.online_filtering": False,
    "algorithm.filter_key": "overall",
    "algorithm.filter_low": 0.01,
    "algorithm.filter_high": 0.99,
    "worker.actor.global_batch_size": 256,
    "worker.actor.micro_batch_size_per_device_for_update": 1,
    "worker.actor.micro_batch_size_per_device_for_experience": 1,
    "worker.actor.max_grad_norm": 1.0,
    "worker.actor.padding_free": True,
    "worker.actor.dynamic_batching": True,
    "worker.actor.ulysses_size": 1,
    "worker.actor.model.model_path": "org/model",
    "worker.actor.model.enable_gradient_checkpointing": True,
    "worker.actor.model.trust_remote_code": False,
    "worker.actor.model.freeze_vision_tower": False,
    "worker.actor.optim.lr": 1.0e-6,
    "worker.actor.optim.weight_decay": 1.0e-2,
    "worker.actor.optim.strategy": "adamw",
    "worker.actor.optim.lr_warmup_ratio": 0.0,
    "worker.actor.fsdp.enable_full_shard": True,
    "worker.actor.fsdp.enable_cpu_offload": False,
    "worker.actor.fsdp.enable_rank0_init": True,
    "worker.rollout.n": 8,
    "worker.rollout.temperature": 1.0,
    "worker.rollout.top_p": 1.0,
    "worker.rollout.gpu_memory_utilization": 0.8,
    "worker.rollout.enforce_eager": False,
    "worker.rollout.enable_mix_policy": False,
    "worker.ref.fsdp.enable_full_shard": True,
    "worker.ref.offload.offload_params": False,
    "worker.reward.reward_function": "PLACEHOLDER",
    "trainer.total_epochs": 10,
    "trainer.max_steps": None,
    "trainer.project_name": "project",
    "trainer.experiment_name": "experiment",
    "trainer.logger": ["file", "wandb"],
    "trainer.nnodes": 1,
    "trainer.n_gpus_per_node": 8,
    "trainer.max_try_make_batch": 20,
    "trainer.val_before_train": True,
    "trainer.val_only": False,
    "trainer.save_model_only": False,
    "trainer.save_checkpoint_path": None,
    "trainer.load_checkpoint_path": None,
}
VIDEO = COMMON | {
    "data.image_dir": None,
    "data.max_prompt_length": 20000,
    "data.max_response_length": 4096,
    "data.rollout_batch_size": 256,
    "data.val_batch_size": 64,
    "data.seed": 42,
    "data.min_pixels": 3136,
    "data.max_pixels": 262144,
    "data.filter_overlong_prompts": False,
    "data.use_preprocessed_videos": True,
    "data.video_source_mode": "prefer_preprocessed",
    "data.preprocessed_video_dir": "PLACEHOLDER",
    "algorithm.use_kl_loss": False,
    "worker.actor.max_token_len_per_gpu": 24096,
    "worker.actor.offload.offload_params": False,
    "worker.actor.offload.offload_optimizer": False,
    "worker.rollout.limit_images": 5,
    "worker.rollout.enable_chunked_prefill": False,
    "worker.rollout.tensor_parallel_size": 2,
    "worker.rollout.max_num_batched_tokens": 25000,
    "worker.rollout.disable_tqdm": True,
    "worker.rollout.val_override_config": {"temperature": 0.7, "top_p": 0.95, "n": 1},
    "trainer.val_freq": 10,
    "trainer.val_generations_to_log": 10,
    "trainer.save_freq": 20,
    "trainer.save_limit": 10,
    "trainer.find_last_checkpoint": False,
}
UNIFIED = COMMON | {
    "data.image_dir": "PLACEHOLDER",
    "data.max_prompt_length": 16384,
    "data.max_response_length": 16384,
    "data.rollout_batch_size": 512,
    "data.val_batch_size": 512,
    "data.seed": 1,
    "data.min_pixels": 262144,
    "data.filter_overlong_prompts": True,
    "data.use_preprocessed_videos": False,
    "algorithm.use_kl_loss": True,
    "worker.actor.offload.offload_params": True,
    "worker.actor.offload.offload_optimizer": True,
    "worker.rollout.limit_images": 0,
    "worker.rollout.enable_chunked_prefill": True,
    "worker.rollout.tensor_parallel_size": 4,
    "worker.rollout.max_num_batched_tokens": 32768,
    "worker.rollout.disable_tqdm": False,
    "worker.rollout.val_override_config": {
        "temperature": 0.7,
        "top_p": 0.8,
        "top_k": 20,
        "repetition_penalty": 1.0,
        "presence_penalty": 1.5,
        "n": 1,
    },
    "worker.ref.fsdp.enable_cpu_offload": True,
    "trainer.val_freq": 5,
    "trainer.val_generations_to_log": 1e8,
    "trainer.save_freq": 10,
    "trainer.save_limit": 5,
    "trainer.find_last_checkpoint": True,
}


def test_the_list_is_complete():
    assert len(UPSTREAM) == len(set(UPSTREAM)) == 197


def test_every_upstream_key_is_accepted(tmp_path: Path):
    tree = OmegaConf.create()
    for path in UPSTREAM:
        OmegaConf.update(tree, path, True if path in RENAMED else KEYS[path].default, force_add=True)
    (tmp_path / "all.yaml").write_text(OmegaConf.to_yaml(tree))
    assert load([f"config={tmp_path / 'all.yaml'}"]) == Config()


@pytest.mark.parametrize("path", UPSTREAM)
def test_every_upstream_key_has_exactly_one_disposition(path: str):
    found = [path in RENAMED, path in KEYS and path in ONLY, path in KEYS and path in NO_EFFECT]
    honoured = path in KEYS and not any(found)
    assert sum([*found, honoured]) == 1


def test_the_tables_speak_of_known_keys_only():
    assert {*ONLY, *CRITIC_ONLY, *NO_EFFECT, *RENAMED.values()} <= set(KEYS)


@pytest.mark.parametrize("path", sorted(ONLY))
def test_a_default_is_never_refused(path: str):
    assert ONLY[path].allows(KEYS[path].default)


def test_every_honoured_key_is_read_somewhere():
    root = Path(verl.__file__).parent
    files = [file for file in root.rglob("*.py") if file.parent.name != "config" or file.stem == "plan"]
    source = "\n".join(file.read_text() for file in files)
    honoured = [path for path in KEYS if path not in {**ONLY, **CRITIC_ONLY, **NO_EFFECT}]
    unread = [path for path in honoured if not re.search(rf"\.{path.rpartition('.')[2]}\b", source)]
    assert not unread


REFUSED = {
    "worker.rollout.colocated": "false",
    "algorithm.kl_penalty": "full",
    "worker.hybrid_engine": "false",
    "worker.actor.strategy": "megatron",
    "worker.actor.padding_free": "false",
    "worker.actor.dynamic_batching": "false",
    "worker.actor.fsdp.torch_dtype": "fp16",
    "worker.actor.fsdp.mp_param_dtype": "fp16",
    "worker.actor.fsdp.mp_reduce_dtype": "fp16",
    "worker.actor.fsdp.mp_buffer_dtype": "bf16",
    "worker.ref.strategy": "megatron",
    "worker.ref.fsdp.mp_buffer_dtype": "bf16",
    "worker.rollout.name": "sglang",
}


@pytest.mark.parametrize("path", sorted(ONLY))
def test_a_value_whose_feature_is_missing_is_refused_by_name(path: str):
    with pytest.raises(ConfigError) as error:
        check(load([f"{path}={REFUSED[path]}"]))
    (message,) = [line for line in str(error.value).splitlines() if line.startswith(f"{path}={REFUSED[path]}: ")]
    assert ONLY[path].missing in message and "; set it to " in message


@pytest.fixture
def recipe(tmp_path: Path):
    """Write a recipe as YAML; its placeholders become paths that exist."""
    (tmp_path / "folder").mkdir()
    for name in ("rows.json", "reward.py"):
        (tmp_path / name).touch()
    rows, reward, folder = (str(tmp_path / name) for name in ("rows.json", "reward.py", "folder"))
    real = {"data.train_files": f"{rows}@train", "data.val_files": rows, "data.format_prompt": rows}
    real |= {"data.image_dir": folder, "data.preprocessed_video_dir": folder}
    real |= {"worker.reward.reward_function": f"{reward}:compute_score"}

    def write(values: dict[str, object]) -> str:
        tree = OmegaConf.create()
        for path, value in values.items():
            OmegaConf.update(tree, path, real[path] if value == "PLACEHOLDER" else value, force_add=True)
        file = tmp_path / "recipe.yaml"
        file.write_text(OmegaConf.to_yaml(tree))
        return str(file)

    return write


@pytest.mark.parametrize("values", [VIDEO, UNIFIED], ids=["video_rl", "unified_rl"])
def test_a_published_recipe_loads_and_passes_every_check(values: dict[str, object], recipe):
    config = load([f"config={recipe(values)}", "worker.actor.clip_ratio_high=0.28"])
    check(config)
    for path, value in values.items():
        if path not in RENAMED and value != "PLACEHOLDER":
            assert read(config, path) == (tuple(value) if isinstance(value, list) else value)
    assert config.data.video_source_mode == (
        "prefer_preprocessed" if values["data.use_preprocessed_videos"] else "realtime_only"
    )
