# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The worker section: policy, reference policy, critic, rollout and reward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from verl.config.judge import JudgeConfig
from verl.config.keys import free, key, section
from verl.config.model import DtypeName, FsdpConfig, ModelConfig, OffloadConfig, OptimConfig
from verl.config.reward_model import RewardModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorConfig:
    """The policy that is trained."""

    strategy: str = key("fsdp", "how the model is spread over processes")
    global_batch_size: int = key(256, "prompts per optimizer step; rollout.n times as many responses")
    micro_batch_size_per_device_for_update: int = key(
        4, "full-length responses per training pass, if max_token_len_per_gpu is null"
    )
    micro_batch_size_per_device_for_experience: int = key(
        16, "full-length responses per log-prob pass, if max_token_len_per_gpu is null"
    )
    max_token_len_per_gpu: int | None = key(
        None, "most tokens in one forward pass of one process; ulysses_size processes share a row of as many times more"
    )
    max_grad_norm: float = key(1.0, "gradients are scaled down to this norm")
    clip_ratio_low: float | None = key(
        None, "probability ratios below 1 - this are clipped; null = 0.2, and for cispo no lower bound"
    )
    clip_ratio_high: float = key(0.3, "probability ratios above 1 + this are clipped")
    clip_ratio_dual: float = key(3.0, "bound on the loss of a negative advantage, in multiples of it")
    tau_positive: float = key(1.0, "temperature of the sapo gate for positive advantages")
    tau_negative: float = key(1.05, "temperature of the sapo gate for negative advantages")
    loss_avg_mode: Literal["token", "seq", "seq_sum", "seq_norm", "sum"] = key(
        "token",
        "the loss is a mean over tokens; over responses of each one's mean; of each one's sum; of its sum over"
        " loss_scale_factor; or the sum over tokens",
    )
    loss_scale_factor: float | None = key(
        None, "what loss_avg_mode=seq_norm divides a response's sum by; null = data.max_response_length"
    )
    loss_type: str = key(
        "default",
        "default (PPO), gspo, gspo_token, cispo, sapo, gmpo, gpg, dppo_tv/kl, dro, vespo, clip_cov, kl_cov, or"
        " path/to/file.py:name",
    )
    loss_options: dict[str, Any] = free(
        "further numbers of the loss: dro_beta; clip_cov_ratio/lb/ub; kl_cov_ratio, ppo_kl_coef; or what a loss of your"
        " own reads"
    )
    entropy_coeff: float = key(0.0, "weight of the entropy, which is added to what is maximised")
    sequence_mask_delta: float | None = key(
        None, "leave out responses with a negative advantage whose mean log-prob fell by more than this; null = none"
    )
    off_policy_loss: Literal["on_policy", "importance", "luffy"] = key(
        "on_policy",
        "responses from the data are trained on as if the policy had written them, with the ratio to their author's"
        " probability, or with a shaped probability (LUFFY)",
    )
    off_policy_shaping: Literal["fraction", "none", "sqrt", "power", "logp", "p_logp"] = key(
        "fraction", "luffy: p / (p + gamma), p, its root, p ** gamma, gamma * log p, or p + gamma * log p"
    )
    off_policy_gamma: float = key(0.1, "luffy: gamma of the shaping")
    off_policy_max_ratio: float | None = key(None, "importance, luffy: larger ratios are cut off; null = none are")
    ppo_epochs: int = key(1, "passes over the rows of a step")
    packing: Literal["shared_prompt", "plain"] = key(
        "shared_prompt", "a prompt goes through the model once per group of responses, or once per response"
    )
    padding_free: bool = key(True, "pack rows without padding")
    dynamic_batching: bool = key(True, "fill each forward pass up to the token budget")
    ulysses_size: int = key(
        1, "processes that share each packed row, a slice of it each; divides their number and the attention heads"
    )
    use_torch_compile: bool = key(True, "compile the computation of log-probabilities")
    model: ModelConfig = section(ModelConfig)
    optim: OptimConfig = section(OptimConfig)
    fsdp: FsdpConfig = section(FsdpConfig)
    offload: OffloadConfig = section(OffloadConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefConfig:
    """The frozen policy that KL is measured against. Everything else is as for the actor."""

    strategy: str = key("fsdp", "how the model is spread over processes")
    fsdp: FsdpConfig = section(FsdpConfig)
    offload: OffloadConfig = section(OffloadConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticConfig:
    """The value model of estimators that need one, such as gae. model.model_path null: the actor's."""

    strategy: str = key("fsdp", "how the model is spread over processes")
    global_batch_size: int = key(256, "prompts per optimizer step; rollout.n times as many responses")
    micro_batch_size_per_device_for_update: int = key(
        4, "full-length responses per training pass, if max_token_len_per_gpu is null"
    )
    micro_batch_size_per_device_for_experience: int = key(
        16, "full-length responses per value pass, if max_token_len_per_gpu is null"
    )
    max_token_len_per_gpu: int | None = key(
        None, "most tokens in one forward pass of one process; ulysses_size processes share a row of as many times more"
    )
    max_grad_norm: float = key(1.0, "gradients are scaled down to this norm")
    cliprange_value: float = key(0.5, "values are clipped to this distance from the old ones")
    loss_avg_mode: Literal["token", "seq"] = key("token", "the loss is a mean over tokens, or over responses")
    ppo_epochs: int = key(1, "passes over the rows of a step")
    padding_free: bool = key(False, "pack rows without padding")
    dynamic_batching: bool = key(True, "fill each forward pass up to the token budget")
    ulysses_size: int = key(1, "processes that share each packed row: as many as the actor's")
    model: ModelConfig = section(ModelConfig)
    optim: OptimConfig = section(OptimConfig)
    fsdp: FsdpConfig = section(FsdpConfig)
    offload: OffloadConfig = section(OffloadConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutConfig:
    """The inference engine and how it samples."""

    name: str = key("vllm", "inference engine")
    n: int = key(1, "responses per prompt")
    temperature: float = key(1.0, "sampling temperature; log-probabilities are computed at the same one")
    top_p: float = key(1.0, "sample from the most likely tokens that hold this much probability")
    top_k: int = key(-1, "sample from this many most likely tokens; -1 = all")
    seed: int = key(1, "seed of sampling; every response of every step gets its own, derived from it")
    ignore_eos: bool = key(False, "go on after the end-of-sequence token")
    limit_images: int = key(0, "most images in a prompt; 0 = no limit")
    dtype: DtypeName = key("bf16", "type of the engine's weights")
    gpu_memory_utilization: float = key(0.6, "share of the accelerator's memory that the engine may take")
    kv_cache_memory_mb: int | None = key(None, "MiB of key-value cache; null = what is left of the share")
    enforce_eager: bool = key(False, "do not capture CUDA graphs")
    enable_chunked_prefill: bool = key(False, "split long prompts over engine steps")
    tensor_parallel_size: int = key(2, "devices that share one engine")
    num_servers: int | None = key(None, "engines; null = one per tensor_parallel_size devices, on a CPU one")
    colocated: bool = key(True, "engines live on the policy's devices and sleep while it trains")
    weight_transfer: Literal["auto", "shm", "ipc", "nccl"] = key("auto", "how new weights reach the engines")
    max_model_len: int | None = key(None, "longest sequence, in tokens; null = prompt + response")
    max_num_batched_tokens: int = key(8192, "most tokens in one engine step")
    max_num_seqs: int = key(256, "most sequences in one engine step")
    disable_log_stats: bool = key(True, "keep the engine's own statistics out of the log")
    disable_tqdm: bool = key(False, "no progress bar while responses are generated")
    val_override_config: dict[str, Any] = free("sampling keys with other values in validation")
    enable_mix_policy: bool = key(
        False, "let responses from the data (column offline_output) take the place of generated ones"
    )
    mix_policy_accuracy_threshold: float | None = key(
        None, "only in groups with a lower mean accuracy than this; null = in every group"
    )
    mix_policy_max_responses: int = key(1, "responses from the data in one group, if its row has that many")
    mix_policy_overlong: Literal["drop", "truncate"] = key(
        "drop", "leave out responses from the data that are longer than data.max_response_length, or cut them"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    """Who scores responses."""

    reward_function: str | None = key(None, "file.py:function (default: main); null = by problem type")
    reward_function_kwargs: dict[str, Any] = free("arguments of that function, or settings of the built-in reward")
    accuracy_weight: float = key(0.9, "weight of a right answer in the built-in reward")
    format_weight: float = key(0.1, "weight of the right format in the built-in reward")
    skip_special_tokens: bool = key(True, "leave special tokens out of the text that is scored")
    num_workers: int = key(2, "processes that score")
    num_cpus: int = key(1, "CPU cores of each of them")
    timeout_seconds: float = key(300.0, "seconds to wait for the score of one batch or response")
    rule_weight: float = key(1.0, "weight of the reward function's score beside a reward model's")
    model: RewardModelConfig = section(RewardModelConfig)
    judge: JudgeConfig = section(JudgeConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Who does the work."""

    hybrid_engine: bool = key(True, "the policy trains and generates in one job")
    actor: ActorConfig = section(ActorConfig)
    ref: RefConfig = section(RefConfig)
    critic: CriticConfig = section(CriticConfig)
    rollout: RolloutConfig = section(RolloutConfig)
    reward: RewardConfig = section(RewardConfig)
