# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Starts the processes of a run, and ends every one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from verl.cluster.group import Watch, WorkerGroup, results
from verl.cluster.placement import Machines, Placement, connect, require_spare_gpus
from verl.config.plan import Plan
from verl.config.trainer import Config
from verl.rollout.environment import engine_environment
from verl.rollout.options import EngineOptions
from verl.trainer import orders
from verl.trainer.reward_models import reward_model_order
from verl.workers.critic import CriticOrder, CriticWorker
from verl.workers.policy import PolicyOrder, PolicyWorker
from verl.workers.reward import RewardWorker
from verl.workers.reward_model import RewardModelWorker
from verl.workers.rollout import RolloutWorker

# A thread of its own for the sentinel. Ray's annotations do not know the option.
WATCHED: Any = ray.remote(concurrency_groups={"watch": 1})  # type: ignore[call-overload]
ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    "TORCH_NCCL_AVOID_RECORD_STREAMS": "1",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:False",  # CUDA IPC cannot export expandable segments
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The processes of a run, and the watch over them."""

    policy: WorkerGroup
    rollout: WorkerGroup
    reward: WorkerGroup
    watch: Watch
    reward_model: WorkerGroup | None = None
    critic: WorkerGroup | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What the models of a run are told."""

    policy: Sequence[PolicyOrder]
    critic: Sequence[CriticOrder]  # none without a critic
    engine: EngineOptions


@contextmanager
def started(config: Config, machines: Machines, plan: Plan, told: Orders) -> Iterator[Crew]:
    """All workers, ready and connected. On the way out they are ended, also when starting fails half-way."""
    connect(machines, ENVIRONMENT | ({"OMP_NUM_THREADS": "1"} if machines.device == "cpu" else {}))
    try:
        placement = Placement(machines)
        watch = Watch()
        kind = WATCHED(PolicyWorker)
        actors = [kind.options(**placement.policy_options(order.rank)).remote(order) for order in told.policy]
        ranks = WorkerGroup("policy rank", actors, watch)
        rewards = _reward_group(config, watch)
        ranks.guard()
        scorers = _reward_model_group(config, machines, ranks, placement)
        loading = scorers.start_all("start") if scorers is not None else []
        critics = _critic_group(told.critic, placement, watch)
        if critics is not None:
            loading += critics.start_all("start", results([critics.start(0, "rendezvous")], watch)[0])
        if config.worker.reward.model.placement == "policy_gpu" or (critics is not None and machines.device == "cuda"):
            results(loading, watch)  # the engines measure what is left
        engines = _start_models(config, plan, told.engine, ranks, placement)
        results(loading, watch)
        yield Crew(policy=ranks, rollout=engines, reward=rewards, watch=watch, reward_model=scorers, critic=critics)
        if config.trainer.ray_timeline is not None:
            ray.timeline(filename=config.trainer.ray_timeline)
    finally:
        ray.shutdown()


def _critic_group(critic: Sequence[CriticOrder], placement: Placement, watch: Watch) -> WorkerGroup | None:
    if not critic:
        return None
    kind = WATCHED(CriticWorker)
    actors = [kind.options(**placement.critic_options(order.rank)).remote(order) for order in critic]
    ranks = WorkerGroup("critic rank", actors, watch)
    ranks.guard()
    return ranks


def _reward_group(config: Config, watch: Watch) -> WorkerGroup:
    reward = config.worker.reward
    kind = ray.remote(RewardWorker).options(num_cpus=reward.num_cpus)
    actors = [kind.remote(reward) for _ in range(reward.num_workers)]
    return WorkerGroup("reward worker", actors, watch, renew=lambda rank: kind.remote(reward))


def _reward_model_group(
    config: Config, machines: Machines, ranks: WorkerGroup, placement: Placement
) -> WorkerGroup | None:
    """Not guarded: one that dies is replaced where it was."""
    order, model = reward_model_order(config.worker.reward.model), config.worker.reward.model
    if order is None:
        return None
    options: list[dict[str, Any]] = [{"num_cpus": model.num_cpus}] * model.num_workers
    if model.placement == "own_gpu":
        require_spare_gpus(machines, model.gpu_share * model.num_workers)
        options = [one | {"num_gpus": model.gpu_share} for one in options]
    elif model.placement == "policy_gpu":
        devices: list[list[str]] = ranks.all("device_ids")
        seats = [index % len(ranks) for index in range(model.num_workers)]
        options = [placement.engine_options(seat, devices[seat]) for seat in seats]

    def renew(index: int) -> Any:
        return ray.remote(RewardModelWorker).options(**options[index]).remote(order)

    return WorkerGroup("reward model", [renew(index) for index in range(model.num_workers)], ranks.watch, renew=renew)


def _start_models(
    config: Config, plan: Plan, engine: EngineOptions, ranks: WorkerGroup, placement: Placement
) -> WorkerGroup:
    """Policy and engines. On a CPU they start side by side; on a GPU the engine measures what the policy left."""
    on_cpu = engine.device == "cpu"
    devices = [[] for _ in range(len(ranks))] if on_cpu else ranks.all("device_ids")
    engines = _engine_group(engine, plan.num_servers, devices, ranks.watch, placement)
    starting = engines.start_all("start") if on_cpu else []
    building = ranks.start_all("start", results([ranks.start(0, "rendezvous")], ranks.watch)[0])
    if not on_cpu:
        results(building, ranks.watch)
        starting = engines.start_all("start")
    results([*building, *starting], ranks.watch)
    engines.guard()
    meeting = results([ranks.start(0, "rendezvous")], ranks.watch)[0]
    transfers = [orders.transfer_settings(engine, rank, meeting) for rank in range(len(ranks))]
    ranks.each("connect", [(engines.actors, transfer) for transfer in transfers])
    return engines


def _engine_group(
    engine: EngineOptions, num_servers: int, devices: Sequence[list[str]], watch: Watch, placement: Placement
) -> WorkerGroup:
    environment = engine_environment(engine.device, engine.weight_transfer)
    width = engine.tensor_parallel_size
    actors: list[Any] = []
    for server in range(num_servers):
        first = server * width
        mine = [gpu for rank in devices[first : first + width] for gpu in rank]
        options = placement.engine_options(first, mine)
        options["runtime_env"]["env_vars"] |= environment
        kind = ray.remote(RolloutWorker).options(max_concurrency=engine.max_num_seqs + 16, **options)
        actors.append(kind.remote(engine, server))
    return WorkerGroup("rollout server", actors, watch)
