# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Floating-point operations of a pass, from a model's config: one formula for every family.

A product of matrices of [a, b] and [b, c] is 2abc. Counted is what the task needs: no recomputation, no norms, and of
attention what the masks let through. Vision towers count, experts as many as a token visits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from verl.types import Grid

# Dense bf16 operations per second, as the vendor states them; the first word that is part of the device's name counts.
PEAKS = (
    ("B200", 2250e12),
    ("GH200", 989e12),
    ("H200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("H800", 989e12),
    ("H20", 148e12),
    ("A100", 312e12),
    ("A800", 312e12),
    ("L40S", 362e12),
    ("L20", 119.5e12),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What goes through a model."""

    tokens: int  # of the packed row
    pairs: int  # a query and a key that it sees
    targets: int  # tokens with logits
    media: tuple[Grid, ...]  # that the vision tower reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Flops:
    """Operations of a forward pass, by part."""

    decoder: float  # products with weights, output head included
    attention: float  # of the decoder, and what its linear layers do with their states
    vision: float  # products with weights
    vision_attention: float

    @property
    def of_decoder(self) -> float:
        """All of the decoder's."""
        return self.decoder + self.attention

    @property
    def of_vision(self) -> float:
        """All of the tower's."""
        return self.vision + self.vision_attention

    def with_decoder_over(self, num_ranks: int) -> Flops:
        """What one rank does of them when ranks share the row; its part of the clips is its own already."""
        return replace(self, decoder=self.decoder / num_ranks, attention=self.attention / num_ranks)


def forward_flops(config: Any, work: Work) -> Flops:
    """Of a Hugging Face config and what goes through its model. Multiply by 3 for a training step of all weights."""
    text, vision = config.get_text_config(), getattr(config, "vision_config", None)
    kinds = getattr(text, "layer_types", None) or ["full_attention"] * text.num_hidden_layers
    linear = sum(kind == "linear_attention" for kind in kinds)
    full = text.num_hidden_layers - linear
    weights = sum(_mlp(text, layer) for layer in range(text.num_hidden_layers))
    weights += full * _attention_weights(text) + (linear * _linear_weights(text) if linear else 0)
    states = linear * 6 * _linear_state(text) if linear else 0  # per token: decay and read, write, read
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    pairs = full * 4 * text.num_attention_heads * head_dim * work.pairs
    seen = _vision(vision, work.media) if vision is not None and work.media else (0.0, 0.0)
    return Flops(
        decoder=2.0 * (work.tokens * weights + work.targets * text.hidden_size * text.vocab_size),
        attention=float(pairs + states * work.tokens),
        vision=seen[0],
        vision_attention=seen[1],
    )


def peak_flops(device_name: str) -> float | None:
    """What a device could do at most, None for one that is not known. A word must stand alone: an H200 is no H20."""
    words = ((rf"(?<![0-9A-Za-z]){re.escape(name)}(?![0-9A-Za-z])", peak) for name, peak in PEAKS)
    return next((peak for pattern, peak in words if re.search(pattern, device_name)), None)


def _attention_weights(text: Any) -> int:
    """Queries (twice where an output gate comes with them: beside linear layers), keys, values, output."""
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    queries = text.num_attention_heads * (3 if hasattr(text, "linear_num_value_heads") else 2)
    return text.hidden_size * head_dim * (queries + 2 * text.num_key_value_heads)


def _linear_weights(text: Any) -> int:
    """Gated delta net: queries, keys, values, their convolution, gate, output, and two numbers per value head."""
    keys = text.linear_num_key_heads * text.linear_key_head_dim
    values = text.linear_num_value_heads * text.linear_value_head_dim
    convolution = text.linear_conv_kernel_dim * (2 * keys + values)
    return text.hidden_size * (2 * keys + 3 * values + 2 * text.linear_num_value_heads) + convolution


def _linear_state(text: Any) -> int:
    return text.linear_num_value_heads * text.linear_key_head_dim * text.linear_value_head_dim


def _mlp(text: Any, layer: int) -> int:
    """Gate, up and down; with experts those that a token visits, the router, and a shared one with its gate."""
    experts = getattr(text, "num_experts", 0) or 0
    dense = layer in (getattr(text, "mlp_only_layers", None) or ())
    if not experts or dense or (layer + 1) % (getattr(text, "decoder_sparse_step", None) or 1):
        return 3 * text.hidden_size * text.intermediate_size
    shared = getattr(text, "shared_expert_intermediate_size", 0) or 0
    width = text.num_experts_per_tok * text.moe_intermediate_size + shared
    return text.hidden_size * (3 * width + experts + bool(shared))


def _vision(vision: Any, media: Sequence[Grid]) -> tuple[float, float]:
    """Products with weights, and attention of the patches of a moment with each other or those of their window."""
    width = getattr(vision, "embed_dim", None) or vision.hidden_size
    out = getattr(vision, "out_hidden_size", None) or vision.hidden_size
    merged = width * vision.spatial_merge_size**2
    inner = getattr(vision, "intermediate_size", None) or int(width * vision.mlp_ratio)
    gated = getattr(vision, "fullatt_block_indexes", None) is not None
    block = 4 * width**2 + (3 if gated else 2) * width * inner
    patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2 * width
    mergers = 1 + len(getattr(vision, "deepstack_visual_indexes", None) or ())
    patches = sum(math.prod(grid) for grid in media)
    tokens = sum(grid.num_tokens(vision.spatial_merge_size) for grid in media)
    full = len(vision.fullatt_block_indexes) if gated else vision.depth
    whole = sum(grid.t * (grid.h * grid.w) ** 2 for grid in media)
    windowed = sum(grid.t * _window_pairs(grid, vision) for grid in media) if gated else 0
    weights = patches * (patch + vision.depth * block) + tokens * mergers * (merged**2 + merged * out)
    return 2.0 * weights, 4.0 * width * (full * whole + (vision.depth - full) * windowed)


def _window_pairs(grid: Grid, vision: Any) -> int:
    """Of one moment: windows that do not fit are smaller."""
    side = vision.window_size // vision.patch_size
    rows, columns = ([min(side, length - start) for start in range(0, length, side)] for length in (grid.h, grid.w))
    return sum((row * column) ** 2 for row in rows for column in columns)
