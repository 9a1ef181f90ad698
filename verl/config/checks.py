# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What keys demand of each other and of the disk, checked before anything expensive starts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from verl.config.collection import collection_problems
from verl.config.data import DataConfig
from verl.config.judge import judge_problems
from verl.config.keys import read
from verl.config.lora import lora_problems
from verl.config.losses import loss_problems
from verl.config.model import OptimConfig
from verl.config.plan import image_spec, video_spec
from verl.config.reward_model import reward_model_problems
from verl.config.sharding import sharding_problems
from verl.config.support import unsupported
from verl.config.trainer import Config
from verl.errors import ConfigError
from verl.registry import nearest

SAMPLING_KEYS = frozenset(
    {
        "n",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "presence_penalty",
        "frequency_penalty",
        "stop",
        "max_tokens",
        "seed",
        "ignore_eos",
        "skip_special_tokens",
    }
)

DATA_SUFFIXES = (".json", ".jsonl", ".parquet")

AT_LEAST_ONE = (
    "data.rollout_batch_size",
    "data.mini_rollout_batch_size",
    "data.max_prompt_length",
    "data.max_response_length",
    "data.video_min_frames",
    "data.dataloader_workers",
    "data.filter_overlong_prompts_workers",
    "trainer.total_epochs",
    "trainer.nnodes",
    "trainer.n_gpus_per_node",
    "trainer.max_steps",
    "worker.actor.global_batch_size",
    "worker.actor.ppo_epochs",
    "worker.actor.ulysses_size",
    "worker.actor.optim.max_skipped_steps",
    "worker.actor.max_token_len_per_gpu",
    "worker.actor.micro_batch_size_per_device_for_update",
    "worker.actor.micro_batch_size_per_device_for_experience",
    "worker.rollout.n",
    "worker.rollout.tensor_parallel_size",
    "worker.rollout.num_servers",
    "worker.rollout.max_num_batched_tokens",
    "worker.rollout.max_num_seqs",
    "worker.rollout.max_model_len",
    "worker.rollout.kv_cache_memory_mb",
    "worker.reward.num_workers",
    "data.video_min_pixels",
    "data.video_max_pixels",
    "data.video_total_pixels",
    "data.min_pixels",
    "data.max_pixels",
    "data.val_video_min_pixels",
    "data.val_video_max_pixels",
    "data.val_video_total_pixels",
    "data.val_video_max_frames",
    "data.image_min_pixels",
    "data.image_max_pixels",
    "data.val_image_min_pixels",
    "data.val_image_max_pixels",
)
AT_LEAST_ONE_OR_NONE = ("data.val_batch_size", "trainer.val_freq", "trainer.save_freq", "trainer.save_limit")
ABOVE_ZERO = (
    "data.video_fps",
    "data.val_video_fps",
    "worker.rollout.temperature",
    "worker.actor.max_grad_norm",
    "worker.actor.clip_ratio_high",
    "worker.actor.tau_positive",
    "worker.actor.tau_negative",
    "worker.actor.loss_scale_factor",
    "worker.actor.off_policy_gamma",
    "worker.actor.off_policy_max_ratio",
    "worker.reward.timeout_seconds",
    "trainer.collective_timeout_seconds",
    "algorithm.kl_horizon",
    "algorithm.kl_target",
)
NOT_NEGATIVE = (
    "algorithm.kl_coef",
    "worker.actor.entropy_coeff",
    "worker.actor.sequence_mask_delta",
    "worker.actor.optim.lr",
    "worker.actor.optim.weight_decay",
    "worker.actor.optim.lr_warmup_ratio",
    "worker.actor.optim.lr_warmup_steps",
    "worker.actor.optim.min_lr_ratio",
    "worker.reward.accuracy_weight",
    "worker.reward.format_weight",
    "worker.reward.num_cpus",
    "trainer.val_generations_to_log",
    "trainer.critic_warmup",
)
EXISTING = (
    "data.image_dir",
    "data.video_dir",
    "data.format_prompt",
    "data.override_chat_template",
    "trainer.load_checkpoint_path",
)


def check(config: Config) -> None:
    """Raises one ConfigError that lists every rule the configuration breaks."""
    broken = [message for rule in RULES for message in rule(config)]
    if broken:
        raise ConfigError("\n".join(broken))


def _ranges(config: Config) -> Iterator[str]:
    for paths, holds, rule in (
        (AT_LEAST_ONE, lambda value: value >= 1, "must be at least 1"),
        (AT_LEAST_ONE_OR_NONE, lambda value: value >= 1 or value == -1, "must be at least 1, or -1"),
        (ABOVE_ZERO, lambda value: 0 < value < math.inf, "must be above 0"),
        (NOT_NEGATIVE, lambda value: 0 <= value < math.inf, "must not be negative"),
    ):
        for path in paths:
            value = read(config, path)
            if value is not None and not holds(value):
                yield f"{path}={value}: {rule}"


def _batches(config: Config) -> Iterator[str]:
    prompts, update = config.data.rollout_batch_size, config.worker.actor.global_batch_size
    if update >= 1 and prompts % update:
        yield (
            f"data.rollout_batch_size={prompts} is not a multiple of worker.actor.global_batch_size={update}:"
            " a step is a whole number of optimizer steps"
        )


def _advantage(config: Config) -> Iterator[str]:
    algorithm = config.algorithm
    for name in ("gamma", "lam", "ema_decay"):
        value = getattr(algorithm, name)
        if not 0 <= value <= 1:
            yield f"algorithm.{name}={value}: must be at least 0 and at most 1"
    rows = config.data.rollout_batch_size * config.worker.rollout.n
    if algorithm.kl_type == "adaptive" and not algorithm.disable_kl and 0 < algorithm.kl_horizon <= rows / 5:
        yield (
            f"algorithm.kl_horizon={algorithm.kl_horizon}: with {rows} responses in a step (data.rollout_batch_size *"
            f" worker.rollout.n) the adaptive weight could fall to 0 or below in one; it must be above {rows / 5:g}"
        )
    keys, weights = algorithm.gdpo_reward_keys, algorithm.gdpo_reward_weights
    if weights and len(weights) != len(keys):
        yield (
            f"algorithm.gdpo_reward_weights={list(weights)}: {len(keys)} entries in algorithm.gdpo_reward_keys;"
            " give a weight for each"
        )
    if not all(map(math.isfinite, weights)):
        yield f"algorithm.gdpo_reward_weights={list(weights)}: all must be finite"


def _devices(config: Config) -> Iterator[str]:
    each, size = config.trainer.n_gpus_per_node, config.worker.rollout.tensor_parallel_size
    if config.trainer.device != "cpu" and size > 0 and each % size:
        yield (
            f"worker.rollout.tensor_parallel_size={size} does not divide the {each} devices of"
            " trainer.n_gpus_per_node: an engine is on one machine"
        )


def _lengths(config: Config) -> Iterator[str]:
    longest = config.data.max_prompt_length + config.data.max_response_length
    actor, rollout = config.worker.actor, config.worker.rollout
    demand = f"is less than data.max_prompt_length + data.max_response_length = {longest}"
    budget, size = actor.max_token_len_per_gpu, actor.ulysses_size
    if budget is not None and budget * size < longest:
        shared = f" (times worker.actor.ulysses_size={size})" if size > 1 else ""
        yield f"worker.actor.max_token_len_per_gpu={budget}{shared} {demand}"
    if rollout.max_model_len is not None and rollout.max_model_len < longest:
        yield f"worker.rollout.max_model_len={rollout.max_model_len} {demand}"
    if not rollout.enable_chunked_prefill and rollout.max_num_batched_tokens < longest:
        yield (
            f"worker.rollout.max_num_batched_tokens={rollout.max_num_batched_tokens} {demand};"
            " raise it or set worker.rollout.enable_chunked_prefill=true"
        )


def _sampling(config: Config) -> Iterator[str]:
    rollout = config.worker.rollout
    if not 0 < rollout.top_p <= 1:
        yield f"worker.rollout.top_p={rollout.top_p}: must be above 0 and at most 1"
    if rollout.top_k < 1 and rollout.top_k != -1:
        yield f"worker.rollout.top_k={rollout.top_k}: must be at least 1, or -1"
    if not 0 < rollout.gpu_memory_utilization <= 1:
        share = rollout.gpu_memory_utilization
        yield f"worker.rollout.gpu_memory_utilization={share}: must be above 0 and at most 1"
    for name in rollout.val_override_config:
        if name not in SAMPLING_KEYS:
            hint = nearest(str(name), SAMPLING_KEYS)
            yield f"worker.rollout.val_override_config.{name}: not a sampling key{hint}"


def _optimizer(config: Config) -> Iterator[str]:
    for role in ("actor", "critic"):
        path = f"worker.{role}.optim"
        optim: OptimConfig = read(config, path)
        if not all(0 <= beta < 1 for beta in optim.betas):
            yield f"{path}.betas={list(optim.betas)}: both must be at least 0 and below 1"
        if not 0 <= optim.muon_momentum < 1:
            yield f"{path}.muon_momentum={optim.muon_momentum}: must be at least 0 and below 1"
        for name in ("lr_warmup_ratio", "min_lr_ratio"):
            value = getattr(optim, name)
            if value is not None and value > 1:
                yield f"{path}.{name}={value}: is a share, at most 1"
        if optim.strategy == "adamw_8bit" and find_spec("torchao") is None:
            yield f"{path}.strategy=adamw_8bit needs torchao, which is not here: pip install 'verl[adamw8bit]'"


def _media(config: Config) -> Iterator[str]:
    for train, videos, images in (
        (True, "data.video_", "data.image_"),
        (False, "data.val_video_ (or data.video_)", "data.val_image_ (or data.image_)"),
    ):
        spec, image = video_spec(config.data, 32, train=train), image_spec(config.data, 32, train=train)
        for prefix, limits in ((videos, spec), (images, image)):
            if limits.min_pixels > limits.max_pixels:
                yield f"{prefix}: min_pixels={limits.min_pixels} is more than max_pixels={limits.max_pixels}"
        if spec.min_frames > spec.max_frames:
            yield f"{videos}: min_frames={spec.min_frames} is more than max_frames={spec.max_frames}"


def _rewards(config: Config) -> Iterator[str]:
    reward = config.worker.reward
    if reward.accuracy_weight + reward.format_weight > 1 + 1e-9:
        yield (
            f"worker.reward.accuracy_weight={reward.accuracy_weight} and"
            f" worker.reward.format_weight={reward.format_weight} add up to more than 1"
        )
    file, _, _ = (reward.reward_function or "").rpartition(":")
    file = file or reward.reward_function or ""
    if reward.reward_function is not None and not Path(file).expanduser().is_file():
        yield f"worker.reward.reward_function={reward.reward_function}: there is no file {file}"


def _judge(config: Config) -> Iterator[str]:
    reward, judge = config.worker.reward, config.worker.reward.judge
    yield from judge_problems(judge)
    if judge.base_url is not None and reward.reward_function is not None:
        yield (
            f"worker.reward.judge.base_url={judge.base_url}: worker.reward.reward_function scores here; let it ask the"
            " judge itself (docs/judge.md), or set one of the two to null"
        )
    if judge.base_url is not None and judge.deadline_seconds >= reward.timeout_seconds:
        yield (
            f"worker.reward.judge.deadline_seconds={judge.deadline_seconds}: must be less than"
            f" worker.reward.timeout_seconds={reward.timeout_seconds}, after which the process that waits is replaced"
        )


def _reward_model(config: Config) -> Iterator[str]:
    reward = config.worker.reward
    yield from reward_model_problems(reward.model, reward.rule_weight, config.trainer.device)


def _model(config: Config) -> Iterator[str]:
    model = config.worker.actor.model
    if not model.model_path:
        yield "worker.actor.model.model_path is not set: name the folder or the hub name of a model"
    for name in ("model_path", "tokenizer_path"):
        value = getattr(model, name) or ""
        if value.startswith(("/", ".", "~")) and not Path(value).expanduser().is_dir():
            yield f"worker.actor.model.{name}={value}: there is no such folder"


def _paths(config: Config) -> Iterator[str]:
    for path in EXISTING:
        value = read(config, path)
        if value is not None and not Path(value).expanduser().exists():
            yield f"{path}={value}: there is no such path; correct it or set it to null"


def _rows(config: Config) -> Iterator[str]:
    data, trainer = config.data, config.trainer
    validates = trainer.val_only or trainer.val_before_train or trainer.val_freq > 0
    if not data.train_files:
        yield "data.train_files is empty: name the training rows"
    if not data.val_files and validates:
        yield (
            "data.val_files is empty: name the validation rows, or set trainer.val_before_train=false,"
            " trainer.val_freq=-1 and trainer.val_only=false"
        )
    for path, locations in (("data.train_files", data.train_files), ("data.val_files", data.val_files)):
        for location in locations:
            name, _ = split_location(location)
            if not Path(name).expanduser().exists() and not is_dataset_name(name):
                yield f"{path}={location}: there is no such file or folder"


def _mix(config: Config) -> Iterator[str]:
    data = config.data
    if data.mix_ratios and len(data.mix_ratios) != len(data.train_files):
        yield (
            f"data.mix_ratios={list(data.mix_ratios)}: {len(data.train_files)} entries in data.train_files;"
            " give a ratio for each"
        )
    if not all(0 < ratio < math.inf for ratio in data.mix_ratios):
        yield f"data.mix_ratios={list(data.mix_ratios)}: all must be above 0; leave out files that are not to be drawn"


def _caches(config: Config) -> Iterator[str]:
    data: DataConfig = config.data
    for key, mode_key, mode, folder in (
        ("preprocessed_video_dir", "video_source_mode", data.video_source_mode, data.preprocessed_video_dir),
        (
            "val_preprocessed_video_dir",
            "val_video_source_mode",
            data.val_video_source_mode or data.video_source_mode,
            data.val_preprocessed_video_dir or data.preprocessed_video_dir,
        ),
    ):
        if mode == "preprocessed_only" and (folder is None or not Path(folder).expanduser().is_dir()):
            yield f"data.{key}={folder}: data.{mode_key}=preprocessed_only needs an existing video cache"


def split_location(location: str) -> tuple[str, str | None]:
    """A path and the split asked for with "path@split"; a path that exists as written has no split."""
    path, at, split = location.rpartition("@")
    if not at or "/" in split or Path(location).expanduser().exists():
        return location, None
    return path, split


def is_dataset_name(name: str) -> bool:
    """Whether `name` could be a dataset on the Hugging Face hub: "owner/dataset", and not a data file."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) is not None and Path(name).suffix not in DATA_SUFFIXES


RULES: tuple[Callable[[Config], Iterator[str]], ...] = (
    unsupported,
    _ranges,
    _batches,
    collection_problems,
    _advantage,
    _devices,
    _lengths,
    _sampling,
    loss_problems,
    _optimizer,
    _media,
    _rewards,
    _judge,
    _reward_model,
    _model,
    lora_problems,
    sharding_problems,
    _paths,
    _rows,
    _mix,
    _caches,
)
