# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A reward model on one device: responses in, scores out. Rows are packed end to end, so nothing is padded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import torch

from verl.errors import ConfigError
from verl.fsdp.packing import Packer
from verl.fsdp.patches import PatchCache, Reader
from verl.fsdp.reward_rows import RewardRows
from verl.models.adapter import ModelAdapter
from verl.models.score_head import build_scorer, head_scores
from verl.models.segments import Segments
from verl.types import NotScorable, Score, Trajectory, Verdict

PART = "model_score"  # the raw score among the parts of a verdict
PATCH_BYTES = 2 << 30  # of the clips of one call


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerSettings:
    """How a reward model computes."""

    dtype: torch.dtype
    device: str  # "cpu" | "cuda"
    token_budget: int  # packed tokens in one forward pass; a longer row is not scorable
    normalisation: Literal["none", "sigmoid"]


class RewardModel:
    """Scores trajectories by question and response, and by media if the model reads them."""

    def __init__(self, adapter: ModelAdapter, settings: ScorerSettings, reader: Reader) -> None:
        self._adapter = adapter
        self._settings = settings
        longest = getattr(adapter.config.get_text_config(), "max_position_embeddings", None) or settings.token_budget
        self._rows = RewardRows(adapter, min(settings.token_budget, longest))
        self._patches = PatchCache(reader, adapter, PATCH_BYTES)
        self._packer = Packer(adapter=adapter, patches=self._patches, shared_prompt=True)
        try:
            self._model = build_scorer(adapter, settings.dtype)
            self._model.to(torch.device(settings.device))  # type: ignore[arg-type]
        except torch.cuda.OutOfMemoryError as error:
            raise ConfigError(
                f"the reward model {adapter.model_path!r} does not fit on its GPU; lower"
                " worker.rollout.gpu_memory_utilization, or set worker.reward.model.placement=own_gpu or cpu"
            ) from error

    def score(self, rows: Sequence[Trajectory]) -> list[Verdict]:
        """Verdicts in order: `overall` is the normalised score, the part model_score the raw one.

        A row that is too long, or whose score is not finite, is not scorable. Raises DataError for unreadable media.
        """
        worded = self._rows.word(rows)
        numbers = iter(self.raw_scores([row for row in worded if isinstance(row, Trajectory)]))
        return [row if isinstance(row, NotScorable) else self._verdict(next(numbers)) for row in worded]

    @torch.no_grad()
    def raw_scores(self, worded: Sequence[Trajectory]) -> list[float]:
        """What the head says at the last token of each row that `RewardRows` worded."""
        scores: dict[int, float] = {}
        for bin_ in self._packer.plan(worded, self._settings.token_budget):
            batch = self._packer.pack(worded, bin_).to(self._settings.device)
            hidden = self._adapter.hidden_states(self._model, batch.row)
            values = head_scores(self._model, hidden[response_ends(batch.row.segments)])
            scores |= zip(batch.order, values.tolist(), strict=True)
        self._patches.end_step()
        return [scores[place] for place in range(len(worded))]

    def _verdict(self, raw: float) -> Verdict:
        if not math.isfinite(raw):
            return NotScorable(reason=f"reward model: its score is {raw}")
        overall = _sigmoid(raw) if self._settings.normalisation == "sigmoid" else raw
        return Score(overall=overall, parts={PART: raw})


def response_ends(segments: Segments) -> list[int]:
    """Where in the packed row each response has its last token, in order."""
    ends = accumulate(segments.q_lens)
    return [end - 1 for end, prefix in zip(ends, segments.prefixes, strict=True) if prefix is not None]


def _sigmoid(value: float) -> float:
    if value < 0:
        return math.exp(value) / (1 + math.exp(value))  # exp of a large number would overflow
    return 1 / (1 + math.exp(-value))
