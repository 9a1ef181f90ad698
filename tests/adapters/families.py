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
    stored: tuple[str, ...]  # weights by their names in the published files
    align: int = 1
    reads_media: bool = True
    # Whether transformers counts on after a video as vLLM does. Where it does not, its positions are only compared up
    # to the end of the first video, and a test fails as soon as they are right.
    stock_positions: bool = True
    # Largest differences in float32 from transformers' own code that runs one response at a time.
    logprob_error: float = 1e-5
    gradient_error: float = 1e-6

    def __str__(self) -> str:
        return self.name


FAMILIES = (
    Family(name="qwen3", reads_media=False),
    Family(name="qwen2_vl", align=28, stock_positions=False),
    Family(name="qwen2_5_vl", align=28, stock_positions=False),
    Family(name="qwen3_vl", align=32),
    Family(name="qwen3_5", align=32),
    Family(name="qwen3_5_moe", align=32),
    Family(name="qwen3_moe", reads_media=False),
    Family(name="qwen3_vl_moe", align=32),
)
WITH_MEDIA = tuple(family for family in FAMILIES if family.reads_media)
