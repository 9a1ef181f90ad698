# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Text-only decoders of the Qwen kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NoReturn

import numpy as np
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from verl.errors import AlignmentError
from verl.models.adapter import ADAPTERS, Expanded, Index, ModelAdapter, PackedRow
from verl.models.patches import Patches
from verl.models.positions import text_positions
from verl.models.segments import register_attention
from verl.types import Grid, MediaClip, MediaMetadata, Tokens


@ADAPTERS.register("qwen3", "qwen2", "qwen3_moe")
class TextAdapter(ModelAdapter):
    """One position axis and no vision tower: media of any kind are refused."""

    num_position_axes = 1
    reads_media = False
    model_class: ClassVar = AutoModelForCausalLM

    def content(self, problem_text: str) -> str:
        """The text itself."""
        return problem_text

    def grid(self, metadata: MediaMetadata) -> Grid:
        """Always raises AlignmentError."""
        self._refuse()

    def expand(self, collapsed: Tokens, media: Sequence[MediaMetadata]) -> Expanded:
        """The ids as they are."""
        if media:
            self._refuse()
        return Expanded(ids=collapsed, grids=())

    def visual_index(self, ids: Tokens, grids: Sequence[Grid]) -> Index:
        """No positions."""
        if grids:
            self._refuse()
        return np.zeros(0, dtype=np.int64)

    def positions(self, ids: Tokens, media: Sequence[MediaMetadata]) -> Index:
        """0, 1, 2, ... as [1, P]."""
        if media:
            self._refuse()
        return text_positions(len(ids))

    def patches(self, clip: MediaClip) -> Patches:
        """Always raises AlignmentError."""
        self._refuse()

    def attention(self) -> str:
        """Segment attention everywhere."""
        return register_attention()

    def hidden_states(self, model: PreTrainedModel, row: PackedRow) -> Tensor:
        """Last hidden states [N, D] of a packed row, or of its slice."""
        output = model.model(
            input_ids=row.ids[None],
            position_ids=row.positions,
            use_cache=False,
            segments=row.segments,
            sequence=None if row.share is None else row.share.group,
        )
        return output.last_hidden_state[0]

    def shard_units(self, model: PreTrainedModel) -> list[nn.Module]:
        """The decoder layers."""
        return list(model.model.layers)

    def _refuse(self) -> NoReturn:
        raise AlignmentError(f"{self.model_path!r} ({self.family}) reads text only; use a video-language model")
