# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Builders of tiny random models, one for each family, in the file layout of the published checkpoints.

To add a family: a builder here, in `BUILDERS`, and a row in tests/adapters/families.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import (
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

from examples.quickstart import make_model
from tests import newer_families

MROPE_SECTION = [6, 5, 5]
OF_TEXT = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
OF_TEXT += ("num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "initializer_range")
OF_TEXT += ("bos_token_id", "eos_token_id")


class Builder(Protocol):
    """Writes a model into a directory, which is returned. Same seed, same weights."""

    def __call__(self, directory: Path, seed: int = 0, *, tied: bool = False) -> Path: ...


def build_tiny_qwen2_vl(directory: Path, seed: int = 0, *, tied: bool = False) -> Path:
    """Two vision blocks, two decoder layers."""
    vision = {"embed_dim": 64, "hidden_size": 64, "mlp_ratio": 2, "depth": 2, "num_heads": 2, **VISION}
    return _build(directory, seed, tied, (Qwen2VLConfig, Qwen2VLForConditionalGeneration), vision)


def build_tiny_qwen2_5_vl(directory: Path, seed: int = 0, *, tied: bool = False) -> Path:
    """Three vision blocks, of which the second sees whole frames; windows of two by two features."""
    vision = {
        "hidden_size": 64,
        "out_hidden_size": 64,
        "intermediate_size": 128,
        "depth": 3,
        "num_heads": 2,
        "window_size": 56,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 2,
        **VISION,
    }
    return _build(directory, seed, tied, (Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration), vision)


VISION = {"patch_size": 14, "temporal_patch_size": 2, "spatial_merge_size": 2, "initializer_range": make_model.INIT_STD}
BUILDERS: dict[str, Builder] = {
    "qwen3_vl": make_model.build_tiny_qwen3_vl,
    "qwen3": make_model.build_tiny_qwen3,
    "qwen2_vl": build_tiny_qwen2_vl,
    "qwen2_5_vl": build_tiny_qwen2_5_vl,
    "qwen3_5": newer_families.build_tiny_qwen3_5,
    "qwen3_5_moe": newer_families.build_tiny_qwen3_5_moe,
    "qwen3_moe": newer_families.build_tiny_qwen3_moe,
    "qwen3_vl_moe": newer_families.build_tiny_qwen3_vl_moe,
}


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Weights, config, generation config and tokenizer."""
    ends = [tokenizer.convert_tokens_to_ids(text) for text in ("<|im_end|>", "<|endoftext|>")]
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=1.0, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
    )
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def _build(
    directory: Path,
    seed: int,
    tied: bool,
    classes: tuple[type[PretrainedConfig], Callable[[Any], PreTrainedModel]],
    vision: Mapping[str, Any],
) -> Path:
    tokenizer = make_model.train_tokenizer()
    token = tokenizer.convert_tokens_to_ids
    config = classes[0](
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 8192,
            "initializer_range": make_model.INIT_STD,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": MROPE_SECTION},
            "bos_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config=dict(vision),
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=tied,
    )
    torch.manual_seed(seed)
    model = classes[1](config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # biases start at zero, and would hide that they are lost
            if name.endswith("bias"):
                parameter.normal_(std=make_model.INIT_STD)
    save(model, tokenizer, directory)
    _flatten(directory / "config.json")
    (directory / "preprocessor_config.json").write_text(json.dumps(_processor(type(model).__name__), indent=2) + "\n")
    return directory


def _flatten(file: Path) -> None:
    """The published config files have the decoder's numbers beside the rest, and older names for its rotary ones."""
    config = json.loads(file.read_text())
    text = config.pop("text_config")
    config |= {name: text[name] for name in OF_TEXT}
    config |= {"rope_theta": 10_000.0, "rope_scaling": {"type": "mrope", "mrope_section": MROPE_SECTION}}
    file.write_text(json.dumps(config, indent=2) + "\n")


def _processor(model_class: str) -> dict[str, Any]:
    """One file for images and videos, as these families have it."""
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": model_class.replace("ForConditionalGeneration", "Processor"),
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "min_pixels": 28 * 28,
        "max_pixels": 256 * 256 * 64,
    }
