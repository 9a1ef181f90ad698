# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Qwen3-VL (arXiv 2511.21631): written timestamps, four position axes, deep-stacked vision features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, PreTrainedModel
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLPreTrainedModel
from transformers.utils.import_utils import is_flash_attn_2_available

from verl.errors import AlignmentError, ConfigError
from verl.models.adapter import ADAPTERS, KINDS, MARK, Checkpoint, Expanded, Index, ModelAdapter, PackedRow
from verl.models.patches import Patches, PatchRecipe
from verl.models.positions import Block, mrope_positions
from verl.models.segments import register_attention
from verl.types import Grid, MediaClip, MediaMetadata, Tokens, VideoMetadata


class Qwen3VLForSequenceClassification(GenericForSequenceClassification, Qwen3VLPreTrainedModel):
    """The class that transformers has for its text models and not for this one: weights `model.*`, `score.weight`."""


@ADAPTERS.register("qwen3_vl")
class Qwen3VLAdapter(ModelAdapter):
    """A moment in an expanded prompt: `<1.5 seconds>`, vision start, one placeholder per feature, end.

    An image is its placeholders alone; start and end around it are the chat template's.
    """

    num_position_axes = 4
    model_class: ClassVar = AutoModelForImageTextToText
    scorer_class: ClassVar = Qwen3VLForSequenceClassification

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
        self._video, self._image = config.video_token_id, config.image_token_id
        self._start, self._end = config.vision_start_token_id, config.vision_end_token_id
        self.banned_ids = (self._start, self._end, self._image, self._video)
        self._stamps: dict[str, list[int]] = {}

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
        """Puts timestamps and placeholders where each video token stands, placeholders where each image token does.

        Token by token, as vLLM does it: the text around a video never merges with a timestamp.
        """
        marks = np.flatnonzero(self._is_visual(collapsed))
        self._check_kinds(collapsed[marks], media)
        grids = tuple(self.grid(medium) for medium in media)
        pieces: list[Tokens] = []
        done = 0
        for mark, medium, grid in zip(marks, media, grids, strict=True):
            pieces += [collapsed[done:mark], self._features(medium, grid)]
            done = mark + 1
        ids = np.concatenate([*pieces, collapsed[done:]]).astype(np.int32)
        return Expanded(ids=ids, grids=grids)

    def visual_index(self, ids: Tokens, grids: Sequence[Grid]) -> Index:
        """Positions of the placeholders, checked run by run against the moments of `grids`."""
        index = np.flatnonzero(self._is_visual(ids))
        expected = [grid.num_tokens(self.merge_size) // grid.t for grid in grids for _ in range(grid.t)]
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

    def positions(self, ids: Tokens, grids: Sequence[Grid]) -> Index:
        """Text, time, height and width positions [4, P]."""
        index = self.visual_index(ids, grids)
        blocks: list[Block] = []
        done = 0
        for grid in grids:
            height, width = grid.h // self.merge_size, grid.w // self.merge_size
            for _ in range(grid.t):
                blocks.append(Block(int(index[done]), height, width))
                done += height * width
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
        """Last hidden states [N, D] of a packed row.

        Features go where the prompts' placeholders are, never by token id, for a policy can sample it.
        A row without media runs the tower on a blank at weight zero: ranks must agree on what they gather.
        """
        embeds = model.get_input_embeddings()(row.ids[None])  # [1, N, D]
        mask, deepstack = None, None
        if row.media:
            features, *deepstack = self._look(model, row.media, row.slots)
            if len(features) != len(row.visual_index):
                raise AlignmentError(
                    f"the row has {len(row.visual_index)} placeholders for {len(features)} vision features"
                )
            embeds = embeds.index_copy(1, row.visual_index, features[None].to(embeds.dtype))
            mask = torch.zeros_like(row.ids, dtype=torch.bool).index_fill(0, row.visual_index, True)[None]
        else:
            levels = self._look(model, (self._blank(row.ids.device),), (0,))
            embeds = embeds + 0.0 * torch.stack([level.sum() for level in levels]).sum()
        output = model.model.language_model(
            inputs_embeds=embeds,
            position_ids=row.positions[:, None],
            use_cache=False,
            visual_pos_masks=mask,
            deepstack_visual_embeds=deepstack,
            segments=row.segments,
        )
        return output.last_hidden_state[0]

    def shard_units(self, model: PreTrainedModel) -> list[nn.Module]:
        """Vision blocks and decoder layers."""
        return [*model.model.visual.blocks, *model.model.language_model.layers]

    def vision_tower(self, model: PreTrainedModel) -> nn.Module:
        """The tower with its mergers."""
        return model.model.visual

    def _look(self, model: PreTrainedModel, media: Sequence[Patches], slots: Sequence[int]) -> list[Tensor]:
        """Vision features of the slots' clips, then their deep-stacked ones: each [visual tokens, D]."""
        pixels = torch.cat([clip.normalised(model.model.visual.dtype) for clip in media])
        grids = torch.tensor([clip.grid for clip in media], device=pixels.device)
        seen: Any = model.model.get_video_features(pixels, grids, return_dict=True)
        return [torch.cat([level[slot] for slot in slots]) for level in (seen.pooler_output, *seen.deepstack_features)]

    def _blank(self, device: torch.device) -> Patches:
        """The smallest clip the tower can read."""
        grid = Grid(1, self.merge_size, self.merge_size)
        values = torch.zeros(grid.h * grid.w, self.recipe.patch_values, dtype=torch.uint8, device=device)
        return Patches(values=values, grid=grid, recipe=self.recipe)

    def _is_visual(self, ids: Tokens) -> NDArray[np.bool_]:
        return (ids == self._video) | (ids == self._image)

    def _check_kinds(self, tokens: Tokens, media: Sequence[MediaMetadata]) -> None:
        """Whether each medium finds its own kind of token."""
        wanted = [self._video if isinstance(medium, VideoMetadata) else self._image for medium in media]
        if tokens.tolist() == wanted:
            return
        for kind, token in (("video", self._video), ("image", self._image)):
            found, given = np.count_nonzero(tokens == token), wanted.count(token)
            if found != given:
                raise AlignmentError(f"the prompt holds {found} {kind} tokens for {given} {kind}s")
        raise AlignmentError("videos and images come in another order than their tokens in the prompt")

    def _features(self, medium: MediaMetadata, grid: Grid) -> Tokens:
        """What stands for one medium."""
        if isinstance(medium, VideoMetadata):
            return self._moments(medium, grid)
        return np.full(grid.num_tokens(self.merge_size), self._image, dtype=np.int32)

    def _moments(self, clip: VideoMetadata, grid: Grid) -> Tokens:
        """What stands for one clip. A moment's time is the mean of its first and its last frame's."""
        size = self.temporal_patch_size
        indices = clip.excerpt_indices + clip.excerpt_indices[-1:] * (grid.t * size - clip.num_frames)
        pads = [self._video] * (grid.num_tokens(self.merge_size) // grid.t)
        ids: list[int] = []
        for first, last in zip(indices[::size], indices[size - 1 :: size], strict=True):
            seconds = (first / clip.source_fps + last / clip.source_fps) / 2
            ids += [*self._stamp(f"<{seconds:.1f} seconds>"), self._start, *pads, self._end]
        return np.asarray(ids, dtype=np.int32)

    def _stamp(self, text: str) -> list[int]:
        if text not in self._stamps:
            self._stamps[text] = self.encode(text).tolist()
        return self._stamps[text]
