# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Every family that has an adapter, and the little that the suite must know about each.

To add one: a builder of a tiny model in tests/families.py, and a row here. Nothing else in this folder names a family.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Family:
    """What the tests expect. `name` is a key of tests.families.BUILDERS and the model type in config.json."""

    name: str
    align: int = 1
    reads_media: bool = True
    # Whether transformers counts on after a video as vLLM does. Where it does not, its positions are only compared up
    # to the end of the first video, and a test fails as soon as they are right.
    stock_positions: bool = True
    # Largest differences in float32 from transformers' own code that runs one response at a time.
    logprob_error: float = 1e-5
    gradient_error: float = 1e-6
    stored: tuple[str, ...] = ()  # some weights by their names in the published files

    def __str__(self) -> str:
        return self.name


OLD_NAMES = ("visual.patch_embed.proj.weight", "model.layers.0.self_attn.q_proj.bias")
FAMILIES = (
    Family(name="qwen3", reads_media=False, stored=("model.layers.0.self_attn.q_norm.weight",)),
    Family(name="qwen2_vl", align=28, stock_positions=False, stored=OLD_NAMES),
    Family(name="qwen2_5_vl", align=28, stock_positions=False, stored=(*OLD_NAMES, "visual.merger.ln_q.weight")),
    Family(name="qwen3_vl", align=32, stored=("model.visual.deepstack_merger_list.0.norm.weight",)),
    Family(name="qwen3_5", align=32, stored=("model.language_model.layers.0.linear_attn.A_log",)),
    Family(name="qwen3_5_moe", align=32, stored=("model.language_model.layers.2.mlp.experts.gate_up_proj",)),
    Family(name="qwen3_moe", reads_media=False, stored=("model.layers.1.mlp.experts.7.gate_proj.weight",)),
    Family(name="qwen3_vl_moe", align=32, stored=("model.language_model.layers.1.mlp.experts.down_proj",)),
)
WITH_MEDIA = tuple(family for family in FAMILIES if family.reads_media)
