# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Keys that actor, reference policy and critic share: the model, its optimizer, how it is sharded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from verl.config.keys import free, key, section

DtypeName = Literal["bf16", "fp16", "fp32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters."""

    rank: int = key(0, "rank of the adapters; 0 = train all weights")
    alpha: int = key(16, "scale of the adapters, divided by the rank")
    target_modules: tuple[str, ...] = key(
        ("all-linear",), "linear layers that get an adapter: names, ends of names, or regular expressions"
    )
    exclude_modules: tuple[str, ...] = key((), "linear layers that get none, written likewise")
    sync: Literal["merged", "adapter"] = key(
        "merged", "engines are sent all weights with the adapters in them, or the adapters alone"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Which weights and how they are built."""

    model_path: str | None = key(None, "folder or hub name of a Hugging Face model")
    tokenizer_path: str | None = key(None, "folder or hub name of the tokenizer; null = model_path")
    override_config: dict[str, Any] = free("values that replace those in the model's config.json")
    enable_gradient_checkpointing: bool = key(True, "recompute activations in the backward pass")
    enable_activation_offload: bool = key(
        False, "keep in host memory what gradient checkpointing keeps of each block until the backward pass"
    )
    trust_remote_code: bool = key(False, "run Python that comes with the model (upstream: true)")
    freeze_vision_tower: bool = key(False, "do not train the vision tower; with LoRA it gets no adapters")
    freeze_merger: bool | None = key(
        None, "do not train what joins the vision tower to the language model; null = as freeze_vision_tower"
    )
    freeze_language_model: bool = key(False, "do not train the language model, embeddings and output head included")
    lora: LoraConfig = section(LoraConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """The optimizer and its schedule. The schedule moves once per training step."""

    lr: float = key(1e-6, "learning rate after warm-up")
    betas: tuple[float, float] = key((0.9, 0.999), "decay of the running means of gradient and square")
    weight_decay: float = key(1e-2, "decoupled weight decay")
    decay_vectors: bool = key(False, "weight decay on norms and biases too, as upstream has it")
    strategy: Literal["adamw", "adamw_bf16", "adamw_8bit", "muon"] = key(
        "adamw", "AdamW; in bf16 with compensated sums; with 8-bit moments; Muon for hidden matrices, else AdamW"
    )
    muon_momentum: float = key(0.95, "decay of muon's running mean of the gradient of a matrix")
    lr_warmup_ratio: float = key(0.0, "share of the training steps spent warming up")
    lr_warmup_steps: int | None = key(None, "training steps spent warming up; null = lr_warmup_ratio")
    min_lr_ratio: float | None = key(None, "last learning rate as a share of lr; null = 0")
    lr_scheduler_type: Literal["constant", "linear", "cosine"] = key("constant", "learning rate after warm-up")
    max_skipped_steps: int = key(3, "optimizer steps in a row without a finite gradient that end the run")


@dataclass(frozen=True, slots=True, kw_only=True)
class FsdpConfig:
    """How weights are spread over processes, and in which types they are kept and computed with."""

    enable_full_shard: bool = key(True, "free gathered weights after each forward pass")
    enable_cpu_offload: bool = key(False, "keep weights, gradients and optimizer state in host memory")
    enable_rank0_init: bool = key(True, "read weights from disk once and send them to the others")
    use_orig_params: bool = key(False, "keep the parameters of the model visible beside the sharded ones")
    torch_dtype: DtypeName | None = key(None, "type weights are kept in; null = fp32, for ref bf16")
    fsdp_size: int = key(-1, "processes that share one copy of the weights, neighbours; -1 = all of them")
    mp_param_dtype: DtypeName = key("bf16", "type weights are gathered and computed with in")
    mp_reduce_dtype: DtypeName = key("fp32", "type gradients are summed over processes in")
    mp_buffer_dtype: DtypeName = key("fp32", "type of the model's buffers")


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadConfig:
    """What leaves the accelerator between phases."""

    offload_params: bool = key(False, "move weights to host memory while they are not used")
    offload_optimizer: bool = key(False, "move optimizer state to host memory while it is not used")
