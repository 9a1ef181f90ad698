# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Ragged batches for the numerical tests: float64, and nan wherever nothing may be read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from verl.algorithms.contract import Denominators, LossInput, LossSettings


@dataclass(frozen=True)
class Batch:
    lengths: list[int]
    group: Tensor  # [B]
    rewards: Tensor  # [B, R], this and the following ones nan outside the mask
    logprobs: Tensor
    old_logprobs: Tensor
    ref_logprobs: Tensor
    advantages: Tensor

    @property
    def mask(self) -> Tensor:
        return torch.arange(self.rewards.shape[1]) < torch.tensor(self.lengths)[:, None]

    def loss_input(self, logprobs: Tensor | None = None, **settings: object) -> LossInput:
        return LossInput(
            logprobs=self.logprobs if logprobs is None else logprobs,
            old_logprobs=self.old_logprobs,
            ref_logprobs=self.ref_logprobs,
            advantages=self.advantages,
            mask=self.mask,
            denominators=Denominators.of(self.mask),
            settings=LossSettings(**settings),  # type: ignore[arg-type]
        )


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """1 to 6 rows of 0 to 5 tokens, at least one of them in the batch; policies some way apart."""
    lengths = draw(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any))
    group = draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths)))
    random = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]

    def stream(scale: float) -> Tensor:
        values = scale * torch.randn(mask.shape, generator=random, dtype=torch.float64)
        return values.masked_fill(~mask, torch.nan)

    logprobs = -stream(1.0).abs()
    return Batch(
        lengths=lengths,
        group=torch.tensor(group),
        rewards=stream(1.0),
        logprobs=logprobs,
        old_logprobs=logprobs + stream(0.5),
        ref_logprobs=logprobs + stream(0.5),
        advantages=stream(1.0),
    )
