# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Builders of tiny random models: Qwen3.5 and families with experts, with the tiny Qwen3-VL's tokenizer and processors.

Experts are 96 wide in 64 dimensions: no two sides are equal, so a transposed weight is seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeConfig,
    Qwen3_5MoeForConditionalGeneration,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

from examples.quickstart import make_model

EXPERTS: dict[str, Any] = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 96}
SHARED_EXPERT: dict[str, Any] = {"shared_expert_intermediate_size": 96}
ROTARY = {"rope_type": "default", "rope_theta": 10_000.0}
HYBRID: dict[str, Any] = {
    "num_hidden_layers": 3,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "linear_key_head_dim": 128,  # the only one that vLLM takes on a CPU
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 1,
    "linear_num_value_heads": 2,
    "rope_parameters": {
        **ROTARY,
        "partial_rotary_factor": 0.5,
        "mrope_section": [3, 3, 2],
        "mrope_interleaved": True,
    },
}


def build_tiny_qwen3_5(directory: Path, seed: int = 0, *, tied: bool = False) -> Path:
    """Two vision blocks; a gated delta net, attention, and another gated delta net."""

    def build(text: dict[str, Any], rest: dict[str, Any]) -> PreTrainedModel:
        return Qwen3_5ForConditionalGeneration(Qwen3_5Config(text_config=text | HYBRID, **_without_levels(rest)))

    return _save(directory, seed, tied, build)


def build_tiny_qwen3_5_moe(directory: Path, seed: int = 0, *, tied: bool = False) -> Path:
    """The same layers with eight experts each, two for a token, and one for all."""

    def build(text: dict[str, Any], rest: dict[str, Any]) -> PreTrainedModel:
        text = text | HYBRID | EXPERTS | SHARED_EXPERT
        return Qwen3_5MoeForConditionalGeneration(Qwen3_5MoeConfig(text_config=text, **_without_levels(rest)))

    return _save(directory, seed, tied, build, save_original_format=False)


def build_tiny_qwen3_vl_moe(directory: Path, seed: int = 0, *, tied: bool = False) -> Path:
    """The tiny Qwen3-VL with eight experts in each decoder layer, two for a token."""

    def build(text: dict[str, Any], rest: dict[str, Any]) -> PreTrainedModel:
        text = text | EXPERTS | {"norm_topk_prob": True}  # transformers ignores the last, vLLM needs it
        return Qwen3VLMoeForConditionalGeneration(Qwen3VLMoeConfig(text_config=text, **rest))

    _save(directory, seed, tied, build)
    file = directory / "model.safetensors"
    weights = load_file(file)  # transformers saves experts as they are in memory, the hub has them transposed
    published = {k: v.transpose(1, 2).contiguous() if ".experts." in k else v for k, v in weights.items()}
    save_file(published, file, metadata={"format": "pt"})
    return directory


def build_tiny_qwen3_moe(directory: Path, seed: int = 0, *, tied: bool = False) -> Path:
    """Text only; eight experts in each layer, two for a token."""

    def build(text: dict[str, Any], rest: dict[str, Any]) -> PreTrainedModel:
        given = {
            "norm_topk_prob": True,
            "rope_parameters": ROTARY,
            "decoder_sparse_step": 1,
            "tie_word_embeddings": tied,
        }
        return Qwen3MoeForCausalLM(Qwen3MoeConfig(**(text | EXPERTS | given)))

    _save(directory, seed, tied, build)
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        (directory / name).unlink()
    return directory


def _save(
    directory: Path,
    seed: int,
    tied: bool,
    build: Callable[[dict[str, Any], dict[str, Any]], PreTrainedModel],
    **options: Any,
) -> Path:
    """A tiny Qwen3-VL with the model replaced. `build` gets its text config, and the rest of its config."""
    make_model.build_tiny_qwen3_vl(directory, seed, tied=tied)
    rest = json.loads((directory / "config.json").read_text())
    text = rest.pop("text_config")
    for config in (text, rest, rest["vision_config"]):
        for name in ("model_type", "architectures", "dtype", "transformers_version"):
            config.pop(name, None)
    torch.manual_seed(seed)
    model = build(text, rest)
    _stir(model)
    model.generation_config = GenerationConfig.from_pretrained(directory)
    model.save_pretrained(directory, **options)
    return directory


def _without_levels(rest: dict[str, Any]) -> dict[str, Any]:
    vision = {name: value for name, value in rest["vision_config"].items() if name != "deepstack_visual_indexes"}
    return {**rest, "vision_config": {**vision, "depth": 2}}


@torch.no_grad()
def _stir(model: nn.Module) -> None:
    """What starts as a constant gets values; states last, for one that fades at once would hide its loss.

    Convolutions have the spread that torch gives them: with 0.1, normalising keys so short is all rounding.
    """
    for name, parameter in model.named_parameters():
        if name.endswith("A_log"):
            parameter.copy_(torch.linspace(0.02, 0.3, len(parameter)).log())
        elif name.endswith("conv1d.weight"):
            parameter.mul_(3.0)
        elif name.endswith(("bias", "norm.weight", "gate.weight")):
            parameter.add_(torch.randn_like(parameter) * make_model.INIT_STD)
