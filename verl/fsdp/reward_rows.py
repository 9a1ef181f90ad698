# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Responses as a reward model reads them: question and response in its own chat template and tokens.

What siblings have in common becomes their prompt, token by token, so question and clips are computed once for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jinja2 import TemplateError

from verl.errors import ContractError, DataError
from verl.models.adapter import MARK, ModelAdapter
from verl.types import VIDEO_MARK, MediaRef, NotScorable, Prompt, Record, Tokens, Trajectory


@dataclass(frozen=True, slots=True)
class _Read:
    """A response with its question, tokenized; the place of its row."""

    place: int
    ids: Tokens  # one placeholder per medium


class RewardRows:
    """Words trajectories for one reward model. Rows of more than `max_tokens` are not scorable."""

    def __init__(self, adapter: ModelAdapter, max_tokens: int) -> None:
        self._adapter = adapter
        self._max_tokens = max_tokens
        self._special = _special_pattern(adapter.tokenizer)

    def word(self, rows: Sequence[Trajectory]) -> list[Trajectory | NotScorable]:
        """`rows` in the reward model's tokens, in order: `response_ids` is what sets a row apart from its siblings.

        Raises DataError, which names the row, for media that the model cannot read.
        """
        worded: dict[int, Trajectory | NotScorable] = {}
        for places in _same_questions(rows):
            first = rows[places[0]].prompt
            try:
                reads = [_Read(place, self._tokens(rows[place])) for place in places]
                shared = self._prompt(first, _shared_length([read.ids for read in reads]), reads[0].ids)
            except (DataError, ContractError) as error:
                raise type(error)(f"{first.record.where}, for the reward model: {error}") from error
            for read in reads:
                worded[read.place] = self._row(rows[read.place], shared, read.ids)
        return [worded[place] for place in range(len(rows))]

    def _tokens(self, row: Trajectory) -> Tokens:
        """The conversation. Its end is the last token that is no padding, where transformers reads the score too."""
        question = self._plain(_question(row.prompt.record))
        words = self._adapter.content(question if self._adapter.reads_media else MARK.sub("", question).strip())
        messages = [{"role": "user", "content": words}, {"role": "assistant", "content": self._plain(row.text)}]
        try:
            text = self._adapter.tokenizer.apply_chat_template(messages, tokenize=False)
        except TemplateError as error:
            raise ContractError(f"its chat template fails: {error}") from error
        ids = self._adapter.encode(text)
        ends = np.flatnonzero(ids != self._adapter.config.get_text_config().pad_token_id)
        return ids[: ends[-1] + 1] if len(ends) else ids

    def _plain(self, text: str) -> str:
        """Without special tokens: a response that spells them must not open a turn or hold a picture."""
        while (plain := self._special.sub("", text)) != text:
            text = plain  # what was apart may be one now
        return text

    def _prompt(self, prompt: Prompt, length: int, ids: Tokens) -> Prompt:
        media = _as_marked(prompt) if self._adapter.reads_media else ()
        expanded = self._adapter.expand(ids[:length], [ref.metadata for ref in media])
        return replace(prompt, collapsed_ids=ids[:length], ids=expanded.ids, grids=expanded.grids, media=media)

    def _row(self, row: Trajectory, prompt: Prompt, ids: Tokens) -> Trajectory | NotScorable:
        rest = ids[len(prompt.collapsed_ids) :]
        length = len(prompt.ids) + len(rest)
        if length > self._max_tokens:
            return NotScorable(reason=f"reward model: {length} tokens, it reads {self._max_tokens}")
        return replace(row, prompt=prompt, response_ids=rest, rollout_logprobs=np.zeros(len(rest), np.float32))


def _question(record: Record) -> str:
    """The problem with its marks, and the options if it does not show them itself."""
    missing = [option for option in record.options if option not in record.problem]
    return record.problem.strip() + ("\nOptions:\n" + "\n".join(record.options) if missing else "")


def _as_marked(prompt: Prompt) -> tuple[MediaRef, ...]:
    """The media in the order of the record's marks; a template may have shown them in another."""
    videos = (ref for ref in prompt.media if ref.kind == "video")
    images = (ref for ref in prompt.media if ref.kind == "image")
    return tuple(next(videos if mark == VIDEO_MARK else images) for mark in MARK.findall(prompt.record.problem))


def _same_questions(rows: Sequence[Trajectory]) -> Iterable[list[int]]:
    """Places of rows that ask the same about the same media."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, row in enumerate(rows):
        prompt = row.prompt
        key = (_question(prompt.record), *(ref.key for ref in prompt.media))
        groups.setdefault(key, []).append(place)
    return groups.values()


def _shared_length(reads: Sequence[Tokens]) -> int:
    """Tokens that all begin with, leaving at least one to each."""
    shortest = min(map(len, reads)) - 1
    table = np.stack([ids[:shortest] for ids in reads])
    differs = np.flatnonzero((table != table[0]).any(0))
    return int(differs[0]) if len(differs) else shortest


def _special_pattern(tokenizer: Any) -> re.Pattern[str]:
    known = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    spelled = sorted(known | set(tokenizer.all_special_tokens), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, spelled)) or "(?!)")
