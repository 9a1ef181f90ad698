# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which process runs where. The only place that knows placement groups and device resources."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from verl.cluster import reaper
from verl.errors import ConfigError

log = logging.getLogger(__name__)

START_TIMEOUT_SECONDS = 300.0
JOIN_TIMEOUT_SECONDS = 1200.0
POLICY_GPU_SHARE = 0.9  # engines claim none of the rest: they are pinned by environment
CRITIC_GPU_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """What a run asks of the cluster."""

    device: str  # "cpu" | "cuda"
    nodes: int
    devices_per_node: int

    @property
    def world_size(self) -> int:
        """Ranks over all nodes."""
        return self.nodes * self.devices_per_node


def connect(machines: Machines, environment: dict[str, str]) -> None:
    """Join the cluster named by RAY_ADDRESS, or start one on this machine that ends with this process."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    runtime_env = {"env_vars": environment}
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "runtime_env": runtime_env, "log_to_driver": True}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:
        reaper.watch_over()
        ray.init("local", include_dashboard=False, num_cpus=max(os.cpu_count() or 1, machines.world_size + 4), **quiet)
    _wait_for_nodes(machines)
    if machines.device == "cuda":
        _require_gpus(machines)


def _wait_for_nodes(machines: Machines) -> None:
    deadline = time.monotonic() + JOIN_TIMEOUT_SECONDS
    while (alive := sum(node["Alive"] for node in ray.nodes())) < machines.nodes:
        if time.monotonic() > deadline:
            raise ConfigError(
                f"trainer.nnodes={machines.nodes}, but only {alive} nodes joined the Ray cluster within "
                f"{JOIN_TIMEOUT_SECONDS:.0f} s; start the launch script on every node"
            )
        log.info("%d of %d nodes have joined", alive, machines.nodes)
        time.sleep(5)


def _require_gpus(machines: Machines) -> None:
    found = int(ray.cluster_resources().get("GPU", 0))
    if found < machines.world_size:
        raise ConfigError(
            f"trainer.nnodes={machines.nodes} x trainer.n_gpus_per_node={machines.devices_per_node} asks for "
            f"{machines.world_size} GPUs, the Ray cluster has {found}; lower the numbers or start more nodes"
        )


def require_spare_gpus(machines: Machines, wanted: float) -> None:
    """Raises ConfigError unless the cluster has that many GPUs more than the policy takes."""
    spare = ray.cluster_resources().get("GPU", 0.0) - machines.world_size
    if spare < wanted:
        raise ConfigError(
            f"worker.reward.model.placement=own_gpu claims {wanted:g} GPUs, the Ray cluster has {max(spare, 0):g}"
            f" beside the {machines.world_size} of the policy; set it to policy_gpu or cpu, or start more nodes"
        )


class Placement:
    """A seat for every rank: a bundle of one device on CUDA, any process slot on a CPU."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines
        self._groups = self._reserve() if machines.device == "cuda" else []

    def policy_options(self, rank: int) -> dict[str, Any]:
        """Actor options of a policy rank."""
        if not self._groups:
            return {"num_cpus": 0}
        return {"num_cpus": 1, "num_gpus": POLICY_GPU_SHARE, "scheduling_strategy": self._seat(rank)}

    def critic_options(self, rank: int) -> dict[str, Any]:
        """Actor options of a critic rank: a process of its own on the device of the policy rank."""
        return self.policy_options(rank) | ({"num_cpus": 0, "num_gpus": CRITIC_GPU_SHARE} if self._groups else {})

    def engine_options(self, first_rank: int, device_ids: list[str]) -> dict[str, Any]:
        """Actor options of an engine that shares the devices of the policy ranks from `first_rank` on.

        It claims no GPU from Ray and sees exactly `device_ids`, so one rule serves every tensor-parallel size.
        """
        if not self._groups:
            return {"num_cpus": 0, "runtime_env": {"env_vars": {}}}
        visible = {
            "CUDA_VISIBLE_DEVICES": ",".join(device_ids),
            "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1",
        }
        return {
            "num_cpus": 0,
            "num_gpus": 0,
            "scheduling_strategy": self._seat(first_rank),
            "runtime_env": {"env_vars": visible},
        }

    def release(self) -> None:
        """Give the seats back."""
        for group in self._groups:
            remove_placement_group(group)

    def _seat(self, rank: int) -> PlacementGroupSchedulingStrategy:
        node, bundle = divmod(rank, self._machines.devices_per_node)
        return PlacementGroupSchedulingStrategy(placement_group=self._groups[node], placement_group_bundle_index=bundle)

    def _reserve(self) -> list[PlacementGroup]:
        """One STRICT_PACK group per node, in the order of node addresses, so that ranks are stable."""
        bundles = [{"CPU": 1, "GPU": 1}] * self._machines.devices_per_node
        groups = [placement_group(list(bundles), strategy="STRICT_PACK") for _ in range(self._machines.nodes)]
        ready, waiting = ray.wait(
            [group.ready() for group in groups], num_returns=len(groups), timeout=START_TIMEOUT_SECONDS
        )
        if waiting:
            raise ConfigError(
                f"only {len(ready)} of {self._machines.nodes} nodes have {self._machines.devices_per_node} free "
                "GPUs and CPUs; is another job running on this Ray cluster?"
            )
        table = ray.util.placement_group_table()
        nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
        return sorted(groups, key=lambda group: nodes[_node_of(table, group)])


def _node_of(table: dict[str, Any], group: PlacementGroup) -> str:
    return str(table[group.id.hex()]["bundles_to_node_id"][0])
