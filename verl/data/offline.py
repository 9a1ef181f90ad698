# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Responses that come with the data: their tokens, as if the policy had written them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from verl.config.trainer import Config
from verl.errors import DataError
from verl.types import Floats, Record, Tokens


class TextModel(Protocol):
    """What reading a response needs of a model adapter."""

    eos_ids: tuple[int, ...]
    end_id: int

    def encode(self, text: str) -> Tokens:
        """Token ids."""

    def decode(self, ids: Tokens, skip_special_tokens: bool = True) -> str:
        """Their text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A response that the policy did not write."""

    ids: Tokens  # [R], ends with an end-of-sequence token unless truncated
    logprobs: Floats  # [R] its author's; 0 where the row has none
    text: str
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineReader:
    """Reads the responses of a record. One that does not end with an end-of-sequence token is given the model's own."""

    model: TextModel
    max_tokens: int  # of a response, its end included
    truncate: bool = False  # cut longer ones; otherwise they are left out
    skip_special_tokens: bool = True  # in the text that is scored

    def read(self, record: Record) -> list[Written]:
        """The usable responses, in their order. Raises DataError for a broken one."""
        problems = list(self.problems(record))
        if problems:
            raise DataError(f"{record.where}: {problems[0]}")
        responses = [self._cut(ids, logprobs) for ids, logprobs in self._all(record)]
        return [response for response in responses if response is not None]

    def num_overlong(self, record: Record) -> int:
        """How many responses are longer than `max_tokens`."""
        return sum(len(ids) > self.max_tokens for ids, _ in self._all(record))

    def problems(self, record: Record) -> Iterator[str]:
        """What makes responses unusable whatever their length."""
        for at, (ids, logprobs) in enumerate(self._all(record)):
            if any(int(token) in self.model.eos_ids for token in ids[:-1]):
                yield f"offline response {at} goes on after an end-of-sequence token; cut it there"
            if len(logprobs) != len(ids):
                yield (
                    f"offline response {at} has {len(ids)} tokens, its end included, and {len(logprobs)}"
                    " offline_logprobs; give one for each, by this model's tokenizer, or leave the column out"
                )

    def _all(self, record: Record) -> Iterator[tuple[Tokens, Sequence[float]]]:
        for at, text in enumerate(record.offline_responses):
            ids = self.model.encode(text)
            if int(ids[-1]) not in self.model.eos_ids:
                ids = np.append(ids, np.int32(self.model.end_id))
            yield ids, record.offline_logprobs[at] if record.offline_logprobs else [0.0] * len(ids)

    def _cut(self, ids: Tokens, logprobs: Sequence[float]) -> Written | None:
        truncated = len(ids) > self.max_tokens
        if truncated and not self.truncate:
            return None
        kept = ids[: self.max_tokens]
        return Written(
            ids=kept,
            logprobs=np.array(logprobs[: self.max_tokens], dtype=np.float32),
            text=self.model.decode(kept, skip_special_tokens=self.skip_special_tokens),
            truncated=truncated,
        )


def offline_reader(config: Config, model: TextModel) -> OfflineReader:
    """What reads responses as configured."""
    return OfflineReader(
        model=model,
        max_tokens=config.data.max_response_length,
        truncate=config.worker.rollout.mix_policy_overlong == "truncate",
        skip_special_tokens=config.worker.reward.skip_special_tokens,
    )
