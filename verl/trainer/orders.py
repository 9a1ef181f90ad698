# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration -> what each kind of worker is told. Pure: nothing is started here."""

from __future__ import annotations

import os
from dataclasses import replace

from verl.algorithms.contract import AlgorithmSettings, LossSettings
from verl.cluster.placement import Machines
from verl.config.plan import Plan
from verl.config.trainer import Config
from verl.fsdp.build import Blueprint
from verl.fsdp.policy import PolicySettings, TrainingSettings
from verl.models.adapter import local_folder
from verl.rollout.engine import SamplingPlan
from verl.rollout.environment import resolve_backend
from verl.rollout.options import EngineOptions, TransferSettings
from verl.workers.policy import ModelSource, PolicyOrder

ENGINE_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def machines_of(config: Config, device: str) -> Machines:
    """What the run asks of the cluster."""
    return Machines(device=device, nodes=config.trainer.nnodes, devices_per_node=config.trainer.n_gpus_per_node)


def policy_orders(config: Config, machines: Machines, plan: Plan, num_training_steps: int) -> list[PolicyOrder]:
    """One order per policy rank."""
    actor, rollout = config.worker.actor, config.worker.rollout
    policy = PolicySettings(
        blueprint=Blueprint(model=actor.model, fsdp=actor.fsdp),
        offload=actor.offload,
        temperature=rollout.temperature,
        token_budget=plan.token_budget_experience,
    )
    first = PolicyOrder(
        rank=0,
        world_size=machines.world_size,
        device=machines.device,
        num_threads=max(1, (os.cpu_count() or 1) // machines.devices_per_node),
        seed=config.data.seed,
        timeout_seconds=config.trainer.collective_timeout_seconds,
        source=model_source(config),
        policy=policy,
        training=_training(config, plan, num_training_steps),
        reference=_reference(config, policy),
        loss=loss_settings(config),
        shared_prompt=actor.packing == "shared_prompt",
    )
    return [replace(first, rank=rank) for rank in range(machines.world_size)]


def model_source(config: Config) -> ModelSource:
    """Where the model family's files are."""
    model = config.worker.actor.model
    return ModelSource(
        model_path=local_folder(str(model.model_path)),
        tokenizer_path=local_folder(model.tokenizer_path) if model.tokenizer_path else None,
        chat_template=config.data.override_chat_template,
        trust_remote_code=model.trust_remote_code,
    )


def _training(config: Config, plan: Plan, num_training_steps: int) -> TrainingSettings:
    actor = config.worker.actor
    return TrainingSettings(
        optim=actor.optim,
        num_training_steps=num_training_steps,
        loss=actor.loss_type,
        num_epochs=actor.ppo_epochs,
        max_grad_norm=actor.max_grad_norm,
        token_budget=plan.token_budget_update,
    )


def _reference(config: Config, policy: PolicySettings) -> PolicySettings | None:
    if config.algorithm.disable_kl:
        return None
    ref = config.worker.ref
    blueprint = replace(policy.blueprint, fsdp=ref.fsdp, trainable=False)
    return replace(policy, blueprint=blueprint, offload=ref.offload)


def loss_settings(config: Config) -> LossSettings:
    """Numbers of the policy loss."""
    actor, algorithm = config.worker.actor, config.algorithm
    return LossSettings(
        clip_low=actor.clip_ratio_low,
        clip_high=actor.clip_ratio_high,
        clip_dual=actor.clip_ratio_dual,
        average=actor.loss_avg_mode,
        use_kl_loss=algorithm.use_kl_loss and not algorithm.disable_kl,
        kl_kind=algorithm.kl_penalty,
        kl_coef=algorithm.kl_coef,
    )


def algorithm_settings(config: Config) -> AlgorithmSettings:
    """Numbers of the advantage estimator."""
    algorithm = config.algorithm
    return AlgorithmSettings(gamma=algorithm.gamma, lam=algorithm.lam, components=algorithm.gdpo_reward_keys)


def sampling_plan(config: Config) -> SamplingPlan:
    """How training responses are drawn."""
    rollout = config.worker.rollout
    return SamplingPlan(
        n=rollout.n,
        temperature=rollout.temperature,
        top_p=rollout.top_p,
        top_k=rollout.top_k,
        max_tokens=config.data.max_response_length,
        seed=rollout.seed,
        ignore_eos=rollout.ignore_eos,
        skip_special_tokens=config.worker.reward.skip_special_tokens,
    )


def engine_options(config: Config, device: str, plan: Plan, *, max_videos: int, max_images: int = 0) -> EngineOptions:
    """One engine."""
    rollout, source = config.worker.rollout, model_source(config)
    return EngineOptions(
        model_path=source.model_path,
        tokenizer_path=source.tokenizer_path,
        max_model_len=plan.max_model_len,
        device=device,
        weight_transfer=resolve_backend(rollout.weight_transfer, device, colocated=rollout.colocated),
        dtype=ENGINE_DTYPES[rollout.dtype],
        max_num_seqs=rollout.max_num_seqs,
        max_num_batched_tokens=rollout.max_num_batched_tokens,
        tensor_parallel_size=rollout.tensor_parallel_size,
        gpu_memory_utilization=rollout.gpu_memory_utilization,
        kv_cache_memory_mb=rollout.kv_cache_memory_mb,
        enforce_eager=rollout.enforce_eager,
        enable_chunked_prefill=rollout.enable_chunked_prefill,
        colocated=rollout.colocated,
        seed=rollout.seed,
        max_videos=max_videos,
        max_images=max_images,
        trust_remote_code=source.trust_remote_code,
        disable_log_stats=rollout.disable_log_stats,
    )


def transfer_settings(options: EngineOptions, rank: int, rendezvous: tuple[str, int]) -> TransferSettings:
    """How one policy rank sends weights to such engines."""
    return TransferSettings(
        backend=options.weight_transfer,
        rank=rank,
        wire_dtype=options.dtype,
        engine_ranks=options.tensor_parallel_size,
        master_address=rendezvous[0],
        master_port=rendezvous[1],
    )
