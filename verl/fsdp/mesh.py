# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How many copies of the weights there are, and which ranks share one."""

from __future__ import annotations

from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from verl.errors import ConfigError


def weight_mesh(ranks: DeviceMesh, fsdp_size: int) -> DeviceMesh:
    """[copies, ranks of a copy]: neighbours share a copy, so that it stays on one machine where it fits there.

    One copy over all ranks, for fsdp_size < 1 or that of all ranks, is `ranks` itself. Collective. Raises ConfigError
    when copies do not come out even.
    """
    if not 0 < fsdp_size < ranks.size():
        return ranks
    if ranks.size() % fsdp_size:
        raise ConfigError(f"fsdp_size={fsdp_size} does not divide {ranks.size()} processes")
    shape = (ranks.size() // fsdp_size, fsdp_size)
    return init_device_mesh(ranks.device_type, shape, mesh_dim_names=("copies", "shards"))
