# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the vision-language families of Qwen have in common; each has a file with the rest."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, PreTrainedModel
from transformers.utils.import_utils import is_flash_attn_2_available

from verl.errors import AlignmentError, ConfigError
from verl.models.adapter import KINDS, MARK, Checkpoint, Expanded, Index, ModelAdapter, PackedRow
from verl.models.patches import Patches, PatchRecipe
from verl.models.positions import Block, mrope_positions
from verl.models.segments import register_attention
from verl.types import Grid, MediaClip, MediaMetadata, Tokens, VideoMetadata


class QwenVLAdapter(ModelAdapter):
    """A vision tower whose features take the place of placeholders in a decoder with four position axes.

    Placeholders come in runs. A family says how many moments of a video a run holds, what stands around it, and how
    far time advances from one moment to the next.
    """

    num_position_axes = 4
    model_class: ClassVar = AutoModelForImageTextToText

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.recipe = PatchRecipe.read(checkpoint.path)
        vision = checkpoint.config.vision_config
        self.patch_size: int = vision.patch_size
        self.temporal_patch_size: int = vision.temporal_patch_size
        self.merge_size: int = vision.spatial_merge_size
        self.align = self.recipe.align
        ours = (self.recipe.patch_size, self.recipe.temporal_patch_size, self.recipe.merge_size)
        if ours != (theirs := (self.patch_size, self.temporal_patch_size, self.merge_size)):
            raise ConfigError(f"{checkpoint.path!r}: processors cut patches by {ours}, the vision tower reads {theirs}")
        config = checkpoint.config
        self.video_id, self.image_id = config.video_token_id, config.image_token_id
        self.start_id, self.end_of_vision_id = config.vision_start_token_id, config.vision_end_token_id
        self.banned_ids = (self.start_id, self.end_of_vision_id, self.image_id, self.video_id)

    # -- what a family says

    @abstractmethod
    def runs(self, grid: Grid) -> tuple[int, ...]:
        """Moments in each run of placeholders of one medium; their sum is `grid.t`."""

    def stand_in(self, medium: MediaMetadata, grid: Grid) -> Tokens:
        """What the medium's one token becomes: a placeholder for each of its features."""
        token = self.video_id if isinstance(medium, VideoMetadata) else self.image_id
        return np.full(grid.num_tokens(self.merge_size), token, dtype=np.int32)

    def time_step(self, medium: MediaMetadata) -> float:
        """How far time advances from one moment of a run to the next, in positions."""
        return 1.0

    def deeper(self, row: PackedRow, levels: Sequence[Tensor]) -> dict[str, Any]:
        """Arguments by which the decoder gets the features of deeper levels, each [visual tokens, D]."""
        return {}

    # -- text

    def content(self, problem_text: str) -> list[dict[str, str]]:
        """Text, video and image parts, in place."""
        pieces = [piece for piece in MARK.split(problem_text) if piece]
        return [{"type": KINDS[piece]} if piece in KINDS else {"type": "text", "text": piece} for piece in pieces]

    # -- placeholders and positions

    def grid(self, metadata: MediaMetadata) -> Grid:
        """Patches of a clip or an image."""
        return self.recipe.grid(metadata)

    def expand(self, collapsed: Tokens, media: Sequence[MediaMetadata]) -> Expanded:
        """Puts what stands for each medium where its token is.

        Token by token, as vLLM does it: the text around a medium never merges with what stands for it.
        """
        marks = np.flatnonzero(self._is_visual(collapsed))
        self._check_kinds(collapsed[marks], media)
        grids = tuple(self.grid(medium) for medium in media)
        pieces: list[Tokens] = []
        done = 0
        for mark, medium, grid in zip(marks, media, grids, strict=True):
            pieces += [collapsed[done:mark], self.stand_in(medium, grid)]
            done = mark + 1
        ids = np.concatenate([*pieces, collapsed[done:]]).astype(np.int32)
        return Expanded(ids=ids, grids=grids)

    def visual_index(self, ids: Tokens, grids: Sequence[Grid]) -> Index:
        """Positions of the placeholders, checked run by run against `grids`."""
        index = np.flatnonzero(self._is_visual(ids))
        expected = [
            moments * grid.num_tokens(self.merge_size) // grid.t for grid in grids for moments in self.runs(grid)
        ]
        if len(index) != sum(expected):
            raise AlignmentError(
                f"the prompt holds {len(index)} placeholders for {sum(expected)} vision features "
                f"of {list(grids)}; it was expanded for other media"
            )
        runs = np.split(index, np.flatnonzero(np.diff(index) != 1) + 1)
        if index.size and [len(run) for run in runs] != expected:
            found = [len(run) for run in runs]
            raise AlignmentError(f"placeholders come in runs of {found}, the vision features of {expected}")
        return index

    def positions(self, ids: Tokens, media: Sequence[MediaMetadata]) -> Index:
        """Text, time, height and width positions [4, P]."""
        grids = [self.grid(medium) for medium in media]
        index = self.visual_index(ids, grids)
        blocks: list[Block] = []
        done = 0
        for medium, grid in zip(media, grids, strict=True):
            height, width = grid.h // self.merge_size, grid.w // self.merge_size
            for moments in self.runs(grid):
                times = (np.arange(moments) * self.time_step(medium)).astype(np.int64)
                blocks.append(Block(int(index[done]), height, width, tuple(times.tolist())))
                done += moments * height * width
        return mrope_positions(len(ids), blocks)

    def patches(self, clip: MediaClip) -> Patches:
        """Normalised, equal to the last bit to what transformers' processors make of media they may not resize."""
        return self.recipe.cut(clip)

    # -- the network

    def attention(self) -> dict[str, str]:
        """Segments for text; the vision tower keeps the best that transformers has here."""
        vision = "flash_attention_2" if is_flash_attn_2_available() else "sdpa"
        return {"text_config": register_attention(), "vision_config": vision}

    def hidden_states(self, model: PreTrainedModel, row: PackedRow) -> Tensor:
        """Last hidden states [N, D] of a packed row, or of its slice.

        Features go where the prompts' placeholders are, never by token id, for a policy can sample it.
        A row without media runs the tower on a blank at weight zero: ranks must agree on what they gather.
        """
        embeds = model.get_input_embeddings()(row.ids[None])  # [1, N, D]
        deeper: dict[str, Any] = {}
        if row.media or row.share is not None:
            features, *levels = self._features(model, row)
            if len(features) != len(row.visual_index):
                raise AlignmentError(
                    f"the row has {len(row.visual_index)} placeholders for {len(features)} vision features"
                )
            embeds = embeds.index_copy(1, row.visual_index, features[None].to(embeds.dtype))
            deeper = self.deeper(row, levels)
        else:
            levels = [level[0] for level in self._look(model, (self._blank(row.ids.device),))]
            embeds = embeds + 0.0 * torch.stack([level.sum() for level in levels]).sum()
        output = model.model.language_model(
            inputs_embeds=embeds,
            position_ids=row.positions[:, None],
            use_cache=False,
            segments=row.segments,
            sequence=None if row.share is None else row.share.group,
            **deeper,
        )
        return output.last_hidden_state[0]

    def shard_units(self, model: PreTrainedModel) -> list[nn.Module]:
        """Vision blocks and decoder layers."""
        return [*model.model.visual.blocks, *model.model.language_model.layers]

    def vision_tower(self, model: PreTrainedModel) -> nn.Module:
        """The tower with its mergers."""
        return model.model.visual

    def _features(self, model: PreTrainedModel, row: PackedRow) -> list[Tensor]:
        """Vision features of the row's placeholders, then those of deeper levels: each [visual tokens, D].

        Of a shared row this rank computes some, for itself and others, and gets those of its slice.
        """
        levels = self._look(model, row.media or (self._blank(row.ids.device),))
        if row.share is None:
            return [torch.cat([level[slot] for slot in row.slots]) for level in levels]
        own = torch.cat([torch.cat(list(level)) for level in levels], -1)
        delivered = row.share.features.deliver(own if row.media else own[:0], row.share.group)
        return [level.contiguous() for level in delivered.chunk(len(levels), -1)]  # one that is kept keeps no other

    def _look(self, model: PreTrainedModel, media: Sequence[Patches]) -> list[Sequence[Tensor]]:
        """Vision features, then those of deeper levels: [tokens of the clip, D] of each clip."""
        pixels = torch.cat([clip.normalised(model.model.visual.dtype) for clip in media])
        grids = torch.tensor([clip.grid for clip in media], device=pixels.device)
        seen: Any = model.model.get_video_features(pixels, grids, return_dict=True)
        return [seen.pooler_output, *getattr(seen, "deepstack_features", ())]

    def _blank(self, device: torch.device) -> Patches:
        """The smallest clip the tower can read."""
        grid = Grid(1, self.merge_size, self.merge_size)
        values = torch.zeros(grid.h * grid.w, self.recipe.patch_values, dtype=torch.uint8, device=device)
        return Patches(values=values, grid=grid, recipe=self.recipe)

    def _is_visual(self, ids: Tokens) -> NDArray[np.bool_]:
        return (ids == self.video_id) | (ids == self.image_id)

    def _check_kinds(self, tokens: Tokens, media: Sequence[MediaMetadata]) -> None:
        """Whether each medium finds its own kind of token."""
        wanted = [self.video_id if isinstance(medium, VideoMetadata) else self.image_id for medium in media]
        if tokens.tolist() == wanted:
            return
        for kind, token in (("video", self.video_id), ("image", self.image_id)):
            found, given = np.count_nonzero(tokens == token), wanted.count(token)
            if found != given:
                raise AlignmentError(f"the prompt holds {found} {kind} tokens for {given} {kind}s")
        raise AlignmentError("videos and images come in another order than their tokens in the prompt")
