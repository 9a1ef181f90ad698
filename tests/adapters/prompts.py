# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts as the data loader would make them, about media in memory."""

from __future__ import annotations

from typing import Any

from tests.adapters.media import Asked
from verl.models.adapter import ModelAdapter
from verl.types import ImageSpec, MediaClip, MediaRef, Prompt, Record, VideoClip, VideoSpec


def prompt_of(adapter: ModelAdapter, asked: Asked) -> Prompt:
    """As the data loader would have made it."""
    record = Record(id="1", where="test:1", problem="", answer="A", problem_type="open", data_type="video")
    return Prompt(
        record=record,
        text=asked.text,
        collapsed_ids=adapter.encode(asked.text),
        ids=asked.prompt.ids,
        grids=asked.prompt.grids,
        media=tuple(ref_of(medium) for medium in asked.media),
    )


def ref_of(medium: MediaClip) -> MediaRef:
    """A reference by identity: the same medium has the same key."""
    sizes: dict[str, Any] = {"min_pixels": 1, "max_pixels": 1 << 30}
    spec = VideoSpec(fps=2.0, max_frames=64, **sizes) if isinstance(medium, VideoClip) else ImageSpec(**sizes)
    key = f"{id(medium)}"
    return MediaRef(path=f"{key}.mp4", spec=spec, key=key, entry=None, metadata=medium.metadata)
