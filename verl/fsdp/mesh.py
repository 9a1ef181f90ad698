# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How many copies of the weights there are, which ranks share one, and which share rows."""

from __future__ import annotations

from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from verl.errors import ConfigError
from verl.models.ulysses import ALONE, KEY, SequenceGroup


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


def sequence_group(ranks: DeviceMesh, size: int) -> SequenceGroup:
    """The `size` neighbours that share rows with this rank. Collective. Raises ConfigError when groups are uneven."""
    if size == 1:
        return ALONE
    if ranks.size() % size:
        raise ConfigError(f"{KEY}={size} does not divide {ranks.size()} processes")
    shape = (ranks.size() // size, size)
    mesh = init_device_mesh(ranks.device_type, shape, mesh_dim_names=("hands", "sequence"))["sequence"]
    return SequenceGroup(size=size, rank=mesh.get_local_rank(), ranks=mesh.get_group())
