# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What a training process will need of its device's memory, before there is a device.

Weights, gradients and optimizer state are counted on the model itself, built without storage, and are exact. What a
pass keeps is a formula over the config, one for every family, that counts tensors as plain torch code keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from verl.config.model import FsdpConfig, ModelConfig, OptimConfig
from verl.fsdp.build import DTYPES, Blueprint
from verl.fsdp.forward import MAX_LOGITS
from verl.fsdp.muon import hidden_matrices
from verl.fsdp.trained import choose_trained
from verl.models.adapter import ModelAdapter

FLOAT = 4  # bytes
LOW_BIT_BLOCK, LOW_BIT_LEAST = 256, 4096  # numbers: see verl/fsdp/low_bit.py


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """What is trained, and on how many processes."""

    model: ModelConfig
    fsdp: FsdpConfig
    optim: OptimConfig
    num_shards: int  # processes that share one copy of the weights
    token_budget: int  # packed tokens of a micro-batch
    visual_tokens: int  # of them, features of distinct clips and images
    device: str = "cuda"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of one process."""

    weights: int
    gradients: int
    optimizer: int
    gathered: int  # the blocks at work, what stays gathered, and their gradients before they are summed
    activations: int  # kept for the backward pass
    recomputed: int  # the largest block, while the backward pass is in it; 0 without gradient checkpointing
    logits: int  # of one chunk, and their gradients
    on_host: int  # of all these, what is in host memory instead
    kv_cache_per_token: int  # of an engine, in bf16, all layers and heads
    num_weights: int
    num_trained: int

    @property
    def total(self) -> int:
        """At the most of a training step after the first: all but the engine's."""
        state = self.weights + self.gradients + self.optimizer
        return state + self.gathered + self.activations + max(self.recomputed, self.logits) - self.on_host


def estimate(adapter: ModelAdapter, plan: MemoryPlan) -> Memory:
    """For the model of `adapter`. Raises ConfigError when nothing of it is trained."""
    blueprint = Blueprint(model=plan.model, fsdp=plan.fsdp)
    model: Any = adapter.build(blueprint.dtype(plan.device), override_config=plan.model.override_config, meta=True)
    choose_trained(model, adapter, plan.model, DTYPES[plan.fsdp.torch_dtype or "fp32"], 0)
    weights = list(model.parameters())
    trained = [weight for weight in weights if weight.requires_grad]
    width = blueprint.compute_dtype(plan.device).itemsize
    kept, recomputed = activations(model.config, plan, width)
    state = {
        "weights": sum(_shard(weight, plan) * weight.itemsize for weight in weights),
        "gradients": sum(_shard(weight, plan) * weight.itemsize for weight in trained),
        "optimizer": _optimizer(model, trained, plan),
    }
    return Memory(
        **state,
        on_host=_on_host(model.config, plan, sum(state.values()), width),
        gathered=_gathered(model, adapter.shard_units(model), plan, width),
        activations=kept,
        recomputed=recomputed,
        logits=_logits(model.config.get_text_config(), plan, width),
        kv_cache_per_token=kv_cache_per_token(model.config),
        num_weights=sum(weight.numel() for weight in weights),
        num_trained=sum(weight.numel() for weight in trained),
    )


def activations(config: Any, plan: MemoryPlan, width: int) -> tuple[int, int]:
    """Bytes that a pass keeps, and with checkpointing, which keeps the input of each block, all of the largest block.

    Linear layers count as with the fused kernels of a GPU; the plain code that a CPU runs keeps more.
    """
    text, vision = config.get_text_config(), getattr(config, "vision_config", None)
    blocks = [_decoder_block(text, layer, width) * plan.token_budget for layer in range(text.num_hidden_layers)]
    inputs = _block_inputs(config, plan, width)
    ends = (2 * width + FLOAT) * text.hidden_size * plan.token_budget  # embeddings, last norm
    if vision is not None:
        patches = plan.visual_tokens * vision.spatial_merge_size**2
        seen = getattr(vision, "embed_dim", None) or vision.hidden_size
        blocks += [_vision_block(vision, seen, width) * patches] * vision.depth
        pixels = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        mergers = 1 + len(getattr(vision, "deepstack_visual_indexes", None) or ())
        ends += patches * (pixels * width + mergers * seen * (3 * width + FLOAT))  # patches, mergers
    return (ends + inputs, max(blocks)) if plan.model.enable_gradient_checkpointing else (ends + sum(blocks), 0)


def _block_inputs(config: Any, plan: MemoryPlan, width: int) -> int:
    """Bytes of what every block is given."""
    text, vision = config.get_text_config(), getattr(config, "vision_config", None)
    inputs = text.num_hidden_layers * text.hidden_size * plan.token_budget
    if vision is not None:
        seen = getattr(vision, "embed_dim", None) or vision.hidden_size
        inputs += vision.depth * seen * plan.visual_tokens * vision.spatial_merge_size**2
    return inputs * width


def _on_host(config: Any, plan: MemoryPlan, state: int, width: int) -> int:
    """Of `state` and of what blocks are given, bytes that FSDP2 or activation offload keep in host memory."""
    if plan.device == "cpu":
        return 0
    moves = plan.model.enable_activation_offload and plan.model.enable_gradient_checkpointing
    return (state if plan.fsdp.enable_cpu_offload else 0) + (_block_inputs(config, plan, width) if moves else 0)


def kv_cache_per_token(config: Any, width: int = 2) -> int:
    """Bytes of keys and values; linear layers keep a state per response instead, whatever its length."""
    text = config.get_text_config()
    full = sum(not _is_linear(text, layer) for layer in range(text.num_hidden_layers))
    return 2 * full * text.num_key_value_heads * _head_dim(text) * width


def _shard(weight: nn.Parameter, plan: MemoryPlan) -> int:
    """Numbers that the first process has of a weight that is cut along its first dimension."""
    rows = -(-weight.shape[0] // plan.num_shards)
    return rows * math.prod(weight.shape[1:])


def _optimizer(model: nn.Module, trained: Iterable[nn.Parameter], plan: MemoryPlan) -> int:
    hidden = hidden_matrices(model) if plan.optim.strategy == "muon" else ()
    return sum(_state(weight, _shard(weight, plan), plan.optim.strategy, weight in hidden) for weight in trained)


def _state(weight: nn.Parameter, numbers: int, strategy: str, is_hidden: bool) -> int:
    match strategy:
        case "adamw_bf16":
            return 3 * 2 * numbers + FLOAT
        case "adamw_8bit" if numbers >= LOW_BIT_LEAST and numbers % LOW_BIT_BLOCK == 0:
            return 2 * (numbers + FLOAT * numbers // LOW_BIT_BLOCK) + FLOAT
        case "muon" if is_hidden:
            return weight.itemsize * numbers
    return 2 * weight.itemsize * numbers + FLOAT  # and the number of steps


def _gathered(model: nn.Module, units: Iterable[nn.Module], plan: MemoryPlan, width: int) -> int:
    """Two blocks, the one at work and the next, and what belongs to none; gradients of one block and of the rest."""
    units = list(units)
    largest, rest, whole = _unsharded(model, units, trained=False)
    held = rest + 2 * largest if plan.fsdp.enable_full_shard else whole
    block, others, _ = _unsharded(model, units, trained=True)
    return held * width + (block + others) * (width + DTYPES[plan.fsdp.mp_reduce_dtype].itemsize)


def _unsharded(model: nn.Module, units: Iterable[nn.Module], *, trained: bool) -> tuple[int, int, int]:
    """Weights of the largest block, in no block, and in all; or of those the ones that are trained."""

    def count(module: nn.Module) -> int:
        return sum(weight.numel() for weight in module.parameters() if weight.requires_grad or not trained)

    sizes, whole = [count(unit) for unit in units], count(model)
    return max(sizes), whole - sum(sizes), whole


def _logits(text: Any, plan: MemoryPlan, width: int) -> int:
    """In the computing type and in float32, and the gradients of both."""
    rows = min(plan.token_budget, max(MAX_LOGITS // text.vocab_size, 1))
    return rows * text.vocab_size * 2 * (width + FLOAT)


def _decoder_block(text: Any, layer: int, width: int) -> int:
    """Bytes per token of all that a decoder layer keeps."""
    norms = 2 * text.hidden_size * (2 * width + 2 * FLOAT)
    mixer = _linear_mixer(text, width) if _is_linear(text, layer) else _attention(text, width)
    return norms + mixer + _mlp(text, layer, width)


def _attention(text: Any, width: int) -> int:
    """Input, queries, keys, values, their norms and rotations, output."""
    queries, keys = (heads * _head_dim(text) for heads in (text.num_attention_heads, text.num_key_value_heads))
    return text.hidden_size * width + (queries + keys) * (2 * width + 2 * FLOAT) + (2 * queries + 2 * keys) * width


def _linear_mixer(text: Any, width: int) -> int:
    """Gated delta net: projections, their convolution, and float32 copies of queries, keys and values."""
    keys = text.linear_num_key_heads * text.linear_key_head_dim
    values = text.linear_num_value_heads * text.linear_value_head_dim
    return text.hidden_size * width + (2 * keys + 3 * values) * 3 * width + (4 * keys + 4 * values) * FLOAT


def _mlp(text: Any, layer: int, width: int) -> int:
    """Gate, its activation, up and their product; with experts those of all that a token visits."""
    experts = getattr(text, "num_experts", 0) or 0
    dense = layer in (getattr(text, "mlp_only_layers", None) or ())
    if not experts or dense or (layer + 1) % (getattr(text, "decoder_sparse_step", None) or 1):
        return 4 * text.intermediate_size * width
    visited = text.num_experts_per_tok
    shared = getattr(text, "shared_expert_intermediate_size", 0) or 0
    return (4 * (visited * text.moe_intermediate_size + shared) + 3 * visited * text.hidden_size) * width


def _vision_block(vision: Any, seen: int, width: int) -> int:
    """Bytes per patch: two norms, attention with rotations in float32, a perceptron."""
    inner = getattr(vision, "intermediate_size", None) or int(seen * vision.mlp_ratio)
    gated = getattr(vision, "fullatt_block_indexes", None) is not None
    return seen * (4 * width + 6 * width + 2 * FLOAT) + (4 if gated else 2) * inner * width


def _is_linear(text: Any, layer: int) -> bool:
    kinds: Any = getattr(text, "layer_types", None)
    return bool(kinds) and kinds[layer] == "linear_attention"


def _head_dim(text: Any) -> int:
    return getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
