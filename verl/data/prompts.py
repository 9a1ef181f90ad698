# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Records to prompts: worded, tokenized, and expanded by what the headers of the media say. No pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from verl.data.templates import Template
from verl.errors import DataError
from verl.models.adapter import MARK, Expanded
from verl.types import VIDEO_MARK, MediaMetadata, MediaRef, Prompt, Record, Tokens

T = TypeVar("T")


class PromptModel(Protocol):
    """What wording a prompt needs of a model adapter."""

    def render(self, problem_text: str, num_videos: int, *, num_images: int) -> str:
        """The text in the model's chat template."""

    def encode(self, text: str) -> Tokens:
        """Token ids, one placeholder per medium."""

    def expand(self, collapsed: Tokens, media: Sequence[MediaMetadata]) -> Expanded:
        """Token ids, one placeholder per vision feature."""


class Media(Protocol):
    """What wording a prompt needs of a source of videos or of images."""

    def ref(self, path: str) -> MediaRef:
        """How to read a medium, and what reading it will give; may decode it to keep the result."""

    def measure(self, path: str) -> MediaMetadata:
        """What reading a medium will give, from headers alone."""


class OverlongPromptError(DataError):
    """A prompt of more tokens than data.max_prompt_length."""


@dataclass(frozen=True, slots=True)
class _Worded:
    """A record's text, and its media as they stand in it."""

    rendered: str
    collapsed: Tokens
    marks: tuple[tuple[str, str], ...]  # mark and path


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptBuilder:
    """Builds prompts; safe to use from several threads."""

    model: PromptModel
    template: Template
    videos: Media
    images: Media
    max_prompt_length: int

    def build(self, record: Record) -> Prompt:
        """The prompt of a record. Every DataError names the record; OverlongPromptError if it is too long."""
        text = self.template.render(record)
        with _naming(record):
            worded = self._word(record, text)
            media = self._each(worded, lambda source, path: source.ref(path))
            expanded = self.model.expand(worded.collapsed, [ref.metadata for ref in media])
        if len(expanded.ids) > self.max_prompt_length:
            raise OverlongPromptError(
                f"{record.where}: the prompt has {len(expanded.ids)} tokens, data.max_prompt_length is"
                f" {self.max_prompt_length}; raise it, lower the pixels or frames of the media, or set"
                " data.filter_overlong_prompts=true"
            )
        return Prompt(
            record=record,
            text=worded.rendered,
            collapsed_ids=worded.collapsed,
            ids=expanded.ids,
            grids=expanded.grids,
            media=media,
        )

    def length(self, record: Record) -> int:
        """Tokens of the prompt of a record, from headers alone. Every DataError names the record."""
        text = self.template.render(record)
        with _naming(record):
            worded = self._word(record, text)
            media = self._each(worded, lambda source, path: source.measure(path))
            return len(self.model.expand(worded.collapsed, media).ids)

    def _word(self, record: Record, text: str) -> _Worded:
        rendered = self.model.render(text, len(record.videos), num_images=len(record.images))
        videos, images = iter(record.videos), iter(record.images)
        marks = tuple((mark, next(videos if mark == VIDEO_MARK else images)) for mark in MARK.findall(text))
        return _Worded(rendered, self.model.encode(rendered), marks)

    def _each(self, worded: _Worded, read: Callable[[Media, str], T]) -> tuple[T, ...]:
        return tuple(read(self.videos if mark == VIDEO_MARK else self.images, path) for mark, path in worded.marks)


@contextmanager
def _naming(record: Record) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise type(error)(f"{record.where}: {error}") from error
