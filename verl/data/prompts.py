# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Records to prompts: worded, tokenized, and expanded by what the headers of the videos say. No pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from verl.data.templates import Template
from verl.errors import DataError
from verl.models.adapter import Expanded
from verl.types import MediaRef, Prompt, Record, Tokens, VideoMetadata


class PromptModel(Protocol):
    """What wording a prompt needs of a model adapter."""

    def render(self, problem_text: str, num_videos: int) -> str:
        """The text in the model's chat template."""

    def encode(self, text: str) -> Tokens:
        """Token ids, one placeholder per video."""

    def expand(self, collapsed: Tokens, clips: Sequence[VideoMetadata]) -> Expanded:
        """Token ids, one placeholder per vision feature."""


class Clips(Protocol):
    """What wording a prompt needs of a media source."""

    def ref(self, path: str) -> MediaRef:
        """How to read a video, and what reading it will give."""


class OverlongPromptError(DataError):
    """A prompt of more tokens than data.max_prompt_length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptBuilder:
    """Builds prompts; safe to use from several threads."""

    model: PromptModel
    template: Template
    clips: Clips
    max_prompt_length: int

    def build(self, record: Record) -> Prompt:
        """The prompt of a record. Every DataError names the record; OverlongPromptError if it is too long."""
        text = self.template.render(record)
        try:
            rendered = self.model.render(text, len(record.videos))
            collapsed = self.model.encode(rendered)
            media = tuple(self.clips.ref(path) for path in record.videos)
            expanded = self.model.expand(collapsed, [ref.metadata for ref in media])
        except DataError as error:
            raise type(error)(f"{record.where}: {error}") from error
        if len(expanded.ids) > self.max_prompt_length:
            raise OverlongPromptError(
                f"{record.where}: the prompt has {len(expanded.ids)} tokens, data.max_prompt_length is"
                f" {self.max_prompt_length}; raise it, lower data.video_max_pixels or data.video_max_frames,"
                " or set data.filter_overlong_prompts=true"
            )
        return Prompt(
            record=record,
            text=rendered,
            collapsed_ids=collapsed,
            ids=expanded.ids,
            grids=expanded.grids,
            media=media,
        )
