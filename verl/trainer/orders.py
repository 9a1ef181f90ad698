# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration -> what each kind of worker is told. Pure: nothing is started here."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from verl.algorithms.contract import AlgorithmSettings, Conventions, LossSettings, OffPolicySettings
from verl.algorithms.correction import Correction, parse_bounds, parse_rejections
from verl.cluster.placement import Machines
from verl.config.plan import Plan
from verl.config.trainer import Config
from verl.fsdp.build import Blueprint
from verl.fsdp.policy import PolicySettings, TrainingSettings
from verl.fsdp.sampling import Sampling
from verl.models.adapter import local_folder
from verl.rollout.options import EngineOptions, TransferSettings
from verl.workers.policy import PolicyOrder
from verl.workers.rank import ModelSource


def machines_of(config: Config, device: str) -> Machines:
    """What the run asks of the cluster."""
    return Machines(device=device, nodes=config.trainer.nnodes, devices_per_node=config.trainer.n_gpus_per_node)


def policy_orders(config: Config, machines: Machines, plan: Plan, num_training_steps: int) -> list[PolicyOrder]:
    """One order per policy rank."""
    actor, rollout = config.worker.actor, config.worker.rollout
    policy = PolicySettings(
        blueprint=Blueprint(model=actor.model, fsdp=actor.fsdp, seed=config.data.seed),
        offload=actor.offload,
        sampling=Sampling(temperature=rollout.temperature, top_p=rollout.top_p, top_k=rollout.top_k),
        token_budget=plan.token_budget_experience,
    )
    return [
        PolicyOrder(
            **rank_fields(config, machines, rank),
            policy=policy,
            training=_training(config, plan, num_training_steps - config.trainer.critic_warmup),
            reference=_reference(config, policy),
            loss=loss_settings(config),
        )
        for rank in range(machines.world_size)
    ]


def rank_fields(config: Config, machines: Machines, rank: int) -> dict[str, Any]:
    """What the ranks of policy and critic are told alike: the fields of RankOrder."""
    return {
        "rank": rank,
        "world_size": machines.world_size,
        "device": machines.device,
        "num_threads": max(1, (os.cpu_count() or 1) // machines.devices_per_node),
        "seed": config.data.seed,
        "timeout_seconds": config.trainer.collective_timeout_seconds,
        "source": model_source(config),
        "shared_prompt": config.worker.actor.packing == "shared_prompt",
        "ulysses_size": config.worker.actor.ulysses_size,
    }


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
        tau_positive=actor.tau_positive,
        tau_negative=actor.tau_negative,
        average=actor.loss_avg_mode,
        response_length=actor.loss_scale_factor or config.data.max_response_length,
        use_kl_loss=algorithm.use_kl_loss and not algorithm.disable_kl,
        kl_kind=algorithm.kl_penalty,
        kl_coef=algorithm.kl_coef,
        kl_bias_correction=algorithm.kl_bias_correction,
        entropy_coef=actor.entropy_coeff,
        sequence_mask_delta=actor.sequence_mask_delta,
        off_policy=OffPolicySettings(
            loss=actor.off_policy_loss,
            shaping=actor.off_policy_shaping,
            gamma=actor.off_policy_gamma,
            max_ratio=actor.off_policy_max_ratio,
        ),
        options=actor.loss_options,
    )


def correction(config: Config) -> Correction:
    """What makes up for the distance between trainer and engine. Raises ConfigError."""
    chosen = config.algorithm.rollout_correction
    bounds, cuts = parse_bounds(chosen.rollout_is_threshold)
    return Correction(
        level=chosen.rollout_is,
        bounds=bounds,
        cuts=cuts,
        normalize=chosen.rollout_is_batch_normalize,
        rejections=parse_rejections(chosen.rollout_rs, chosen.rollout_rs_threshold),
    )


def algorithm_settings(config: Config) -> AlgorithmSettings:
    """Numbers of the advantage estimator."""
    algorithm = config.algorithm
    return AlgorithmSettings(
        gamma=algorithm.gamma,
        lam=algorithm.lam,
        norm_by_std=algorithm.norm_adv_by_std,
        components=algorithm.gdpo_reward_keys,
        weights=algorithm.gdpo_reward_weights,
        whitening=algorithm.gdpo_whitening,
        ema_decay=algorithm.ema_decay,
        conventions=Conventions(singleton=algorithm.singleton_advantage),
        options=algorithm.adv_options,
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
