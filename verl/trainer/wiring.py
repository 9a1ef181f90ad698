# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The composition root: a configuration becomes a trainer. The only file that knows every class.

What can be wrong with settings, data and plug-ins is found out before a process is started.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from verl.algorithms.advantage import Advantage, find_advantage
from verl.algorithms.contract import Needs
from verl.algorithms.correction import Correction
from verl.algorithms.kl import AdaptiveKl, FixedKl, KlController
from verl.algorithms.policy_loss import find_loss
from verl.checkpoint.layout import CheckpointRoot
from verl.config.plan import Plan, num_training_steps
from verl.config.trainer import Config
from verl.data.dataset import PromptDataset, build_dataset
from verl.data.loader import PromptLoader, build_loader
from verl.errors import ConfigError
from verl.models.adapter import ModelAdapter, load_adapter
from verl.registry import is_built_in
from verl.rewards.contract import Reward
from verl.rewards.custom import load_reward
from verl.rewards.judge import check_judge
from verl.rewards.router import validate_answer
from verl.rollout.configured import engine_options, sampling_plan
from verl.rollout.engine import SamplingPlan
from verl.tracking.tracker import Run, Trackers, open_trackers
from verl.trainer import crew, orders
from verl.trainer.benchmarks import BenchmarkRunner, BenchmarkSet, open_benchmarks
from verl.trainer.checkpoints import Checkpoints
from verl.trainer.choice import Chooser
from verl.trainer.clock import Clock
from verl.trainer.collect import Collector
from verl.trainer.critic import CriticTraining, check_critic, critic_orders
from verl.trainer.experience import Assembler
from verl.trainer.filtering import GroupFilter
from verl.trainer.handles import CriticHandle, PolicyHandle, Rewards, RolloutHandle
from verl.trainer.loop import Limits, Schedule, Trainer
from verl.trainer.offline import Mixing
from verl.trainer.progress import Progress
from verl.trainer.reward_models import JointRewards, Shares, model_handle, reward_model_adapter
from verl.trainer.scorers import CallStyle, RewardHandle
from verl.trainer.validate import Validator

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a run is made of, before any process is started."""

    config: Config
    device: str
    plan: Plan
    loader: PromptLoader
    val: PromptDataset | None
    benchmarks: BenchmarkSet | None
    reward: Reward
    advantage: Advantage
    correction: Correction
    sampling: SamplingPlan
    scorer: ModelAdapter | None  # the reward model's
    mixing: Mixing | None
    trackers: Trackers
    num_steps: int


@contextmanager
def launched(config: Config) -> Iterator[Trainer]:
    """A trainer with all of its processes, which end when the block does."""
    parts = prepare(config)
    machines = orders.machines_of(config, parts.device)
    has_critic = Needs.CRITIC in parts.advantage.needs
    told = crew.Orders(
        policy=orders.policy_orders(config, machines, parts.plan, parts.num_steps),
        critic=critic_orders(config, machines, parts.plan, parts.num_steps) if has_critic else (),
        engine=engine_options(config, parts.device, parts.plan, **_most_media(parts)),
    )
    with crew.started(config, machines, parts.plan, told) as workers:
        trainer = assemble(parts, workers)
        try:
            yield trainer
        finally:
            trainer.progress.close()
            parts.loader.close()
            parts.trackers.close()


def prepare(config: Config) -> Parts:
    """Read and check everything that needs no other process. Raises ConfigError or DataError."""
    device = resolve_device(config)
    advantage = find_advantage(config.algorithm.adv_estimator)
    _check_needs(advantage, config)
    find_loss(config.worker.actor.loss_type).check(config.worker.actor.loss_options)
    correction = orders.correction(config)
    reward = load_reward(config.worker.reward)
    check_judge(config.worker.reward.judge)
    scorer = reward_model_adapter(config.worker.reward.model)
    source = orders.model_source(config)
    adapter = load_adapter(**asdict(source))
    adapter.check_sequence(config.worker.actor.ulysses_size)
    answer_check = validate_answer if config.worker.reward.reward_function is None else None
    train = build_dataset(config.data, adapter, train=True, check_answer=answer_check)
    has_val = bool(config.data.val_files)
    val = build_dataset(config.data, adapter, train=False, check_answer=answer_check) if has_val else None
    num_steps = num_training_steps(config, len(train))
    if num_steps < 1:
        raise ConfigError(
            f"{len(train)} training prompts do not fill one batch of data.rollout_batch_size="
            f"{config.data.rollout_batch_size}; lower it or add data"
        )
    check_critic(config, advantage, adapter, num_steps)
    return Parts(
        config=config,
        device=device,
        plan=Plan.of(config, config.trainer.nnodes * config.trainer.n_gpus_per_node, device),
        loader=build_loader(config.data, train),
        val=val,
        benchmarks=open_benchmarks(config, adapter),
        reward=reward,
        advantage=advantage,
        correction=correction,
        sampling=sampling_plan(config),
        scorer=scorer,
        mixing=Mixing.of(config, adapter, train.records),
        trackers=open_trackers(config.trainer.logger, _run(config)),
        num_steps=num_steps,
    )


def _check_needs(advantage: Advantage, config: Config) -> None:
    """Whether the trainer will supply what the estimator asks for."""
    name = config.algorithm.adv_estimator
    if config.algorithm.adv_options and is_built_in(advantage.function):
        given = ", ".join(config.algorithm.adv_options)
        raise ConfigError(f"algorithm.adv_options ({given}) are for an estimator of your own; {name} reads none")
    if Needs.GROUP in advantage.needs and config.worker.rollout.n < 2:
        raise ConfigError(
            f"worker.rollout.n={config.worker.rollout.n}: algorithm.adv_estimator={name} compares the responses to a"
            " prompt; set it to 2 or more"
        )
    if Needs.COMPONENTS in advantage.needs and not config.algorithm.disable_kl and not config.algorithm.use_kl_loss:
        raise ConfigError(
            f"algorithm.adv_estimator={name} reads the parts of the scores, which a KL penalty in the rewards does not"
            " reach; set algorithm.use_kl_loss=true for KL in the loss, or algorithm.disable_kl=true"
        )
    if Needs.COMPONENTS in advantage.needs and not config.algorithm.gdpo_reward_keys:
        raise ConfigError(
            f"algorithm.gdpo_reward_keys is empty: algorithm.adv_estimator={name} reads parts of the scores; name them"
        )
    compares = config.worker.rollout.n > 1 or Needs.GREEDY_BASELINE in advantage.needs
    if config.algorithm.online_filtering and config.algorithm.filter_mode == "variance" and not compares:
        raise ConfigError(
            "algorithm.online_filtering=true keeps prompts whose responses differ, and worker.rollout.n=1 gives each"
            " one response; set the latter to 2 or more, or algorithm.filter_mode=band"
        )


def resolve_device(config: Config) -> str:
    """What `trainer.device` turns out to be here. Raises ConfigError for CUDA without a device."""
    wanted, found = config.trainer.device, torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise ConfigError("trainer.device=cuda, but torch sees no CUDA device here; use cpu or auto")
    if wanted == "auto":
        return "cuda" if found else "cpu"
    return wanted


def assemble(parts: Parts, workers: crew.Crew) -> Trainer:
    """The trainer over running workers."""
    config, clock = parts.config, Clock()
    shape = (config.trainer.save_model_only, config.worker.actor.ulysses_size)
    policy = PolicyHandle(workers.policy, *shape)
    critic = CriticHandle(workers.critic, *shape) if workers.critic is not None else None
    rollout = RolloutHandle(workers.rollout, workers.watch)
    kl = _kl_controller(config)
    with_baseline = Needs.GREEDY_BASELINE in parts.advantage.needs
    return Trainer(
        loader=parts.loader,
        collector=Collector(
            prompts=parts.loader,
            rollout=rollout,
            rewards=_rewards(parts, workers, parts.sampling.n + with_baseline),
            plan=parts.sampling,
            num_prompts=parts.plan.num_prompts_per_step,
            clock=clock,
            filter=GroupFilter.of(config.algorithm, by_component=Needs.COMPONENTS in parts.advantage.needs),
            max_rounds=config.trainer.max_try_make_batch,
            mixing=parts.mixing,
            with_baseline=with_baseline,
            announce=policy.announce,
        ),
        assembler=Assembler(
            policy=policy,
            critic=critic,
            advantage=parts.advantage,
            settings=orders.algorithm_settings(config),
            kl=kl,
            kl_in_reward=not config.algorithm.use_kl_loss,
            correction=parts.correction,
            use_reference=not config.algorithm.disable_kl,
            shares_prompts=config.worker.actor.packing == "shared_prompt",
            groups_per_update=parts.plan.groups_per_update,
            masks_truncated=config.algorithm.mask_truncated,
            chooser=Chooser(loss=find_loss(config.worker.actor.loss_type), settings=orders.loss_settings(config)),
            clock=clock,
        ),
        policy=policy,
        rollout=rollout,
        validator=_validator(parts, workers, rollout, clock),
        checkpoints=_checkpoints(config, policy, critic),
        trackers=parts.trackers,
        kl=kl,
        progress=Progress(parts.num_steps, config.trainer.progress_bar),
        critic=CriticTraining(critic, parts.plan.critic.groups_per_update) if critic is not None else None,
        schedule=_schedule(config, parts.num_steps),
        limits=_limits(parts),
        clock=clock,
    )


def _rewards(parts: Parts, workers: crew.Crew, siblings: int) -> Rewards:
    reward, judge = parts.config.worker.reward, parts.config.worker.reward.judge
    rule = RewardHandle(
        workers.reward,
        batch_size=1 if parts.reward.is_sequential else siblings,
        timeout_seconds=reward.timeout_seconds,
        style=CallStyle(max_rows=judge.max_concurrency if judge.base_url is not None else 1),
    )
    if workers.reward_model is None or parts.scorer is None:
        return rule
    model = model_handle(workers.reward_model, reward.model, siblings if parts.scorer.reads_media else 1)
    return JointRewards(rule, model, Shares(rule=reward.rule_weight, model=reward.model.weight))


def _validator(parts: Parts, workers: crew.Crew, rollout: RolloutHandle, clock: Clock) -> Validator | None:
    if parts.val is None and parts.benchmarks is None:
        return None
    config = parts.config
    plan = parts.sampling.override(config.worker.rollout.val_override_config)
    return Validator(
        prompts=parts.val if parts.val is not None else (),
        benchmarks=_benchmark_runner(parts, rollout),
        batch_size=config.data.val_batch_size,
        plan=plan,
        rollout=rollout,
        rewards=_rewards(parts, workers, plan.n),
        trackers=parts.trackers,
        num_generations=config.trainer.val_generations_to_log,
        clock=clock,
    )


def _benchmark_runner(parts: Parts, rollout: RolloutHandle) -> BenchmarkRunner | None:
    if parts.benchmarks is None:
        return None
    size = 4 * parts.config.worker.rollout.max_num_seqs
    return BenchmarkRunner(benchmarks=parts.benchmarks, plan=parts.sampling, rollout=rollout, batch_size=size)


def _kl_controller(config: Config) -> KlController | None:
    algorithm = config.algorithm
    if algorithm.disable_kl:
        return None
    if algorithm.kl_type == "adaptive":
        target, horizon = algorithm.kl_target, algorithm.kl_horizon
        return AdaptiveKl(algorithm.kl_penalty, algorithm.kl_coef, target=target, horizon=horizon)
    return FixedKl(algorithm.kl_penalty, algorithm.kl_coef)


def _checkpoints(config: Config, policy: PolicyHandle, critic: CriticHandle | None) -> Checkpoints:
    trainer = config.trainer
    resume_from = Path(trainer.load_checkpoint_path).resolve() if trainer.load_checkpoint_path else None
    return Checkpoints(
        root=CheckpointRoot(save_directory(config)),
        policy=policy,
        critic=critic,
        limit=trainer.save_limit,
        resume_from=resume_from,
        find_last=trainer.find_last_checkpoint,
        announce=log.info,
    )


def save_directory(config: Config) -> Path:
    """Where checkpoints and log files of this run go."""
    trainer = config.trainer
    default = Path("checkpoints") / trainer.project_name / trainer.experiment_name
    return Path(trainer.save_checkpoint_path or default).resolve()


def _run(config: Config) -> Run:
    return Run(
        project=config.trainer.project_name,
        experiment=config.trainer.experiment_name,
        directory=save_directory(config),
        config=asdict(config),
    )


def _schedule(config: Config, num_steps: int) -> Schedule:
    trainer = config.trainer
    return Schedule(
        total_steps=num_steps,
        val_freq=trainer.val_freq,
        save_freq=trainer.save_freq,
        val_before_train=trainer.val_before_train,
        val_only=trainer.val_only,
        critic_warmup=trainer.critic_warmup,
    )


def _limits(parts: Parts) -> Limits:
    data, trainer = parts.config.data, parts.config.trainer
    return Limits(
        max_prompt_length=data.max_prompt_length,
        max_response_length=data.max_response_length,
        num_devices=trainer.nnodes * trainer.n_gpus_per_node,
    )


def _most_media(parts: Parts) -> dict[str, int]:
    """The largest numbers of videos and of images in one row, which the engine must allow."""
    sets = [parts.loader.dataset, *([parts.val] if parts.val is not None else [])]
    records = [record for one in sets for record in one.records]
    videos = max((len(record.videos) for record in records), default=0)
    images = max((len(record.images) for record in records), default=0)
    if parts.benchmarks is not None:
        videos = max(videos, parts.benchmarks.num_media("video"))
        images = max(images, parts.benchmarks.num_media("image"))
    return {
        "max_videos": videos or int(not images),  # with none of either, vLLM would drop the vision tower
        "max_images": images,
    }
