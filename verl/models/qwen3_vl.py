# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Qwen3-VL (arXiv 2511.21631): written timestamps, deep-stacked vision features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLPreTrainedModel

from verl.models.adapter import ADAPTERS, Checkpoint, PackedRow
from verl.models.qwen_vl import QwenVLAdapter
from verl.types import Grid, MediaMetadata, Tokens, VideoMetadata


class Qwen3VLForSequenceClassification(GenericForSequenceClassification, Qwen3VLPreTrainedModel):
    """The class that transformers has for its text models and not for this one: weights `model.*`, `score.weight`."""


@ADAPTERS.register("qwen3_vl")
class Qwen3VLAdapter(QwenVLAdapter):
    """A moment in an expanded prompt: `<1.5 seconds>`, vision start, one placeholder per feature, end.

    An image is its placeholders alone; start and end around it are the chat template's.
    """

    scorer_class: ClassVar[Any] = Qwen3VLForSequenceClassification

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self._stamps: dict[str, list[int]] = {}

    def runs(self, grid: Grid) -> tuple[int, ...]:
        """One for each moment."""
        return (1,) * grid.t

    def stand_in(self, medium: MediaMetadata, grid: Grid) -> Tokens:
        """A clip's moments. A moment's time is the mean of its first and its last frame's."""
        if not isinstance(medium, VideoMetadata):
            return super().stand_in(medium, grid)
        size = self.temporal_patch_size
        indices = medium.excerpt_indices + medium.excerpt_indices[-1:] * (grid.t * size - medium.num_frames)
        pads = [self.video_id] * (grid.num_tokens(self.merge_size) // grid.t)
        ids: list[int] = []
        for first, last in zip(indices[::size], indices[size - 1 :: size], strict=True):
            seconds = (first / medium.source_fps + last / medium.source_fps) / 2
            ids += [*self._stamp(f"<{seconds:.1f} seconds>"), self.start_id, *pads, self.end_of_vision_id]
        return np.asarray(ids, dtype=np.int32)

    def deeper(self, row: PackedRow, levels: Sequence[Tensor]) -> dict[str, Any]:
        """For the first layers, which add them at the placeholders."""
        mask = torch.zeros_like(row.ids, dtype=torch.bool).index_fill(0, row.visual_index, True)
        return {"visual_pos_masks": mask[None], "deepstack_visual_embeds": list(levels)}

    def _stamp(self, text: str) -> list[int]:
        if text not in self._stamps:
            self._stamps[text] = self.encode(text).tolist()
        return self._stamps[text]
