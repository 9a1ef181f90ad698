# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The critic's side of a run: whether it can be trained, what its ranks are told, its share of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from verl.algorithms.advantage import Advantage
from verl.algorithms.contract import Needs
from verl.cluster.deal import Deal, join
from verl.cluster.placement import Machines
from verl.config.critic import critic_problems
from verl.config.plan import Plan
from verl.config.trainer import Config
from verl.errors import ConfigError
from verl.fsdp.build import Blueprint
from verl.fsdp.critic import ValueSettings
from verl.fsdp.network import LearningSettings, NetworkSettings
from verl.models.adapter import ModelAdapter, load_adapter, local_folder
from verl.tracking.metrics import Metrics, merge
from verl.trainer import orders
from verl.trainer.handles import Critic
from verl.types import Experience
from verl.workers.critic import CriticOrder
from verl.workers.rank import ModelSource

MODEL_KEY = "worker.critic.model.model_path"


@dataclass(frozen=True, slots=True)
class CriticTraining:
    """How the critic learns from a step."""

    critic: Critic
    groups_per_update: int

    def update(self, deals: Sequence[Deal[Experience]]) -> Metrics:
        """The policy's rows, on the ranks that hold them, in the critic's own optimiser steps."""
        return merge([self.critic.update(recut(deals, self.groups_per_update)), self.critic.end_step()])


def recut(deals: Sequence[Deal[Experience]], num_groups: int) -> list[Deal[Experience]]:
    """The same rows in the same hands, as deals of `num_groups` groups each, in the order of the groups."""
    whole = join(deals)
    groups = {row.trajectory.group for hand in whole.hands for row in hand}
    number = {group: at for at, group in enumerate(sorted(groups))}
    return [
        whole.keep(lambda row, part=part: number[row.trajectory.group] // num_groups == part)  # type: ignore[misc]
        for part in range(-(-len(number) // num_groups))
    ]


def check_critic(config: Config, advantage: Advantage, policy: ModelAdapter, num_steps: int) -> None:
    """Whether the critic that the estimator needs can be trained beside this policy. Raises ConfigError."""
    warmup, name = config.trainer.critic_warmup, config.algorithm.adv_estimator
    if Needs.CRITIC not in advantage.needs:
        if warmup > 0:
            raise ConfigError(
                f"trainer.critic_warmup={warmup}: algorithm.adv_estimator={name} has no critic to warm up; set it to 0"
            )
        return
    problems = list(critic_problems(config))
    if warmup >= num_steps:
        problems.append(f"trainer.critic_warmup={warmup} leaves none of the {num_steps} training steps to the policy")
    if problems:
        raise ConfigError("\n".join(problems))
    source = critic_source(config)
    if source.model_path != policy.model_path:
        critic = load_adapter(source.model_path, tokenizer_path=source.tokenizer_path)
        _check_family(critic, policy)
        critic.check_sequence(config.worker.actor.ulysses_size)


def _check_family(critic: ModelAdapter, policy: ModelAdapter) -> None:
    """Whether the critic can read the policy's tokens and patches."""
    for what, found, wanted in (
        ("model_type", critic.family, policy.family),
        ("placeholders", critic.banned_ids, policy.banned_ids),
        ("vocab_size", critic.config.get_text_config().vocab_size, policy.config.get_text_config().vocab_size),
        (
            "patches",
            (critic.patch_size, critic.temporal_patch_size, critic.merge_size),
            (policy.patch_size, policy.temporal_patch_size, policy.merge_size),
        ),
    ):
        if found != wanted:
            raise ConfigError(
                f"{MODEL_KEY}={critic.model_path}: {what} is {found}, the policy's is {wanted}; the critic reads the"
                " policy's tokens, so name a model of the same family, or leave it null for the policy's own"
            )


def critic_source(config: Config) -> ModelSource:
    """Where the critic's files are: its own weights, or the policy's; tokens are always the policy's."""
    model, policy = config.worker.critic.model, orders.model_source(config)
    if model.model_path is None:
        return policy
    return ModelSource(
        model_path=local_folder(model.model_path, MODEL_KEY),
        tokenizer_path=policy.tokenizer_path or policy.model_path,
        chat_template=policy.chat_template,
        trust_remote_code=model.trust_remote_code,
    )


def critic_orders(config: Config, machines: Machines, plan: Plan, num_training_steps: int) -> list[CriticOrder]:
    """One order per critic rank; there are as many as policy ranks."""
    critic = config.worker.critic
    network = NetworkSettings(
        blueprint=Blueprint(model=critic.model, fsdp=critic.fsdp, values=True),
        offload=critic.offload,
        token_budget=plan.critic.token_budget_experience,
    )
    training = LearningSettings(
        optim=critic.optim,
        num_training_steps=num_training_steps,
        num_epochs=critic.ppo_epochs,
        max_grad_norm=critic.max_grad_norm,
        token_budget=plan.critic.token_budget_update,
    )
    return [
        CriticOrder(
            **orders.rank_fields(config, machines, rank) | {"source": critic_source(config)},
            network=network,
            training=training,
            loss=ValueSettings(clip=critic.cliprange_value, average=critic.loss_avg_mode),
        )
        for rank in range(machines.world_size)
    ]
