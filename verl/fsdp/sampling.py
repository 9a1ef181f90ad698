# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The distribution that responses were drawn from: temperature, then the most likely tokens only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a token is drawn from logits. The trainer's log-probs are those of this distribution, as the engine's are.

    Which tokens are kept is decided from the trainer's own logits, by the engine's rules. A sampled token is always
    kept: rounding may put one at the edge outside here that was inside there. The two log-probs then differ by up to
    the log of the mass of what is at the edge, which `rollout/logprob_gap_max` shows.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1  # below 1: all

    @property
    def keeps_all(self) -> bool:
        """Whether every token can be drawn."""
        return self.top_p >= 1 and self.top_k < 1

    def shape(self, logits: Tensor, sampled: Tensor) -> Tensor:
        """Logits [T, V] of the distribution, -inf where nothing is drawn. `sampled` [T] are the tokens drawn."""
        logits = logits / self.temperature
        if self.keeps_all:
            return logits
        return logits.masked_fill(~self._kept(logits.detach(), sampled), -math.inf)

    def _kept(self, logits: Tensor, sampled: Tensor) -> Tensor:
        """[T, V] bool. Equal logits at the edge of top_k are all kept, at the edge of top_p by the order of sorting."""
        kept = torch.ones_like(logits, dtype=torch.bool)
        if 1 <= self.top_k < logits.shape[-1]:
            kept = logits >= logits.topk(self.top_k, dim=-1).values[:, -1:]
        if self.top_p < 1:
            ascending, places = logits.masked_fill(~kept, -math.inf).sort(dim=-1)
            below = ascending.softmax(-1).cumsum(-1) <= 1 - self.top_p
            kept &= ~below.scatter(-1, places, below)
        return kept.scatter(-1, sampled[:, None], value=True)
