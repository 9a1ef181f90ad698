# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What may be taken off a score for the form of a whole response. Off by default; a score may then be negative."""

from __future__ import annotations

from dataclasses import dataclass

from verl.errors import ConfigError
from verl.scoring.overlap import words


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlongPenalty:
    """Soft penalty for responses that near the length limit (DAPO, arXiv 2503.14476, equation 13)."""

    max_length: int  # tokens at which the penalty is full
    buffer: int  # tokens before it over which the penalty grows
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.buffer <= self.max_length or not 0 <= self.weight <= 1:
            raise ConfigError(f"overlong_penalty {self}: 0 < buffer <= max_length and 0 <= weight <= 1")

    def of(self, num_tokens: int) -> float:
        """0 to -weight."""
        over = num_tokens - (self.max_length - self.buffer)
        return -self.weight * min(1.0, over / self.buffer) if over > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RepetitionPenalty:
    """Penalty in proportion to the share of repeated n-grams of words (as in arXiv 2502.03373)."""

    ngram: int = 4
    weight: float = 0.5

    def __post_init__(self) -> None:
        if self.ngram < 1 or not 0 <= self.weight <= 1:
            raise ConfigError(f"repetition_penalty {self}: ngram >= 1 and 0 <= weight <= 1")

    def of(self, response: str) -> float:
        """0 to -weight. In scripts without spaces every character is a word."""
        units = words(response)
        num_grams = len(units) - self.ngram + 1
        if num_grams < 2:
            return 0.0
        distinct = len(set(zip(*(units[start:] for start in range(self.ngram)), strict=False)))
        return -self.weight * (1 - distinct / num_grams)
