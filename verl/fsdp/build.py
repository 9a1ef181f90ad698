# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A model family's network -> a sharded one (FSDP2), on gloo or nccl."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, fully_shard

from verl.config.model import FsdpConfig, ModelConfig
from verl.fsdp.activations import offload_inputs
from verl.fsdp.fill import WeightStream, fill
from verl.fsdp.forward import add_policy_forward
from verl.fsdp.mesh import weight_mesh
from verl.fsdp.trained import choose_trained
from verl.fsdp.values import add_value_forward, add_value_head
from verl.models.adapter import ModelAdapter
from verl.models.low_rank import first_values, is_adapter
from verl.models.pretrained import PretrainedWeights
from verl.models.score_head import HEAD

OUTPUT_HEAD = "lm_head.weight"
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """What to build and how to spread it."""

    model: ModelConfig
    fsdp: FsdpConfig
    trainable: bool = True
    values: bool = False  # a value per token is read off it, in place of the probabilities of tokens
    seed: int = 0  # of the first values of adapters

    @property
    def has_adapters(self) -> bool:
        """Whether low-rank adapters are what is trained."""
        return self.trainable and self.model.lora.rank > 0

    def dtype(self, device: str) -> torch.dtype:
        """Type the weights are kept in. Frozen models, and what has adapters, are kept in what they compute with."""
        if self.fsdp.torch_dtype is not None:
            return DTYPES[self.fsdp.torch_dtype]
        whole = self.trainable and not self.has_adapters
        return torch.float32 if whole or device == "cpu" else torch.bfloat16

    def compute_dtype(self, device: str) -> torch.dtype:
        """Type the weights are gathered and computed with in: on a CPU the one they are kept in."""
        return self.dtype(device) if device == "cpu" else DTYPES[self.fsdp.mp_param_dtype]


def build(adapter: ModelAdapter, blueprint: Blueprint, mesh: DeviceMesh) -> nn.Module:
    """The sharded network with `policy_forward`, or `value_forward`.

    Collective over `mesh`, which is of all ranks; gradients are summed over them. Raises ConfigError for a folder whose
    weights are not those of the model.
    """
    device = mesh.device_type
    model = adapter.build(
        blueprint.dtype(device),
        override_config=blueprint.model.override_config,
        gradient_checkpointing=blueprint.trainable and blueprint.model.enable_gradient_checkpointing,
        meta=True,
    )
    if blueprint.trainable and blueprint.model.enable_activation_offload:
        offload_inputs(model)
    heads = (OUTPUT_HEAD, HEAD) if blueprint.values else ()  # a critic has its own, whatever the folder's
    stream = WeightStream(
        partial(PretrainedWeights, adapter.model_path, model, heads),
        device,
        from_one=blueprint.fsdp.enable_rank0_init and mesh.size() > 1,
    )
    _change(model, adapter, blueprint)
    _shard(model, adapter.shard_units(model), blueprint.fsdp, weight_mesh(mesh, blueprint.fsdp.fsdp_size))
    _materialise(model, "cpu" if blueprint.fsdp.enable_cpu_offload else device)
    fill(model, stream, partial(_first_values, blueprint))
    (add_value_forward if blueprint.values else add_policy_forward)(model, adapter)
    return model


def _change(model: Any, adapter: ModelAdapter, blueprint: Blueprint) -> None:
    """Heads and adapters that the folder does not have, and which weights are trained."""
    if blueprint.values:
        add_value_head(model)
    if blueprint.trainable:
        dtype = DTYPES[blueprint.fsdp.torch_dtype or "fp32"]  # of adapters
        choose_trained(model, adapter, blueprint.model, dtype, blueprint.seed)
    else:
        model.requires_grad_(False)


def _first_values(blueprint: Blueprint, name: str, weight: Tensor) -> Tensor | None:
    """Of what training adds to the model; None for its own weights."""
    if is_adapter(name):
        return first_values(name, weight, blueprint.seed)
    return torch.zeros(weight.shape) if blueprint.values and name == HEAD else None


def _shard(model: nn.Module, units: list[nn.Module], config: FsdpConfig, mesh: DeviceMesh) -> None:
    options: dict[str, Any] = {"mesh": mesh, "mp_policy": _precision(config, mesh.device_type)}
    if config.enable_cpu_offload and mesh.device_type != "cpu":
        options["offload_policy"] = CPUOffloadPolicy()
    for unit in units:
        fully_shard(unit, reshard_after_forward=config.enable_full_shard, **options)
    root = fully_shard(model, reshard_after_forward=False, **options)
    for module in model.modules():
        if isinstance(module, FSDPModule):  # these two do not reach submodules
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo has no other reduction
    root.set_reduce_scatter_unused_params(True)  # ranks may use different weights: one has videos, another none


def _precision(config: FsdpConfig, device: str) -> MixedPrecisionPolicy:
    if device == "cpu":
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(param_dtype=DTYPES[config.mp_param_dtype], reduce_dtype=DTYPES[config.mp_reduce_dtype])


def _materialise(model: nn.Module, device: str) -> None:
    """Give parameters without storage theirs, uninitialised. Tables are real already, and where they belong."""
    model._apply(lambda tensor: torch.empty_like(tensor, device=device) if tensor.is_meta else tensor)
