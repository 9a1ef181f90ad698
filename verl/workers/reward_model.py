# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A process that holds a reward model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from verl.fsdp.reward_model import RewardModel, ScorerSettings
from verl.media.source import ClipReader
from verl.models.adapter import ModelAdapter, load_adapter
from verl.types import Trajectory
from verl.workers import process
from verl.workers.rank import ModelSource
from verl.workers.reward import Timed

TEMPLATE_KEY = "worker.reward.model.chat_template"


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardModelOrder:
    """All that a reward-model worker is told."""

    source: ModelSource
    settings: ScorerSettings
    num_threads: int  # of this process, on a CPU


def load_reader(source: ModelSource) -> ModelAdapter:
    """The family's adapter, with the reward model's own tokenizer and template. Raises ConfigError."""
    return load_adapter(
        source.model_path,
        tokenizer_path=source.tokenizer_path,
        chat_template=source.chat_template,
        trust_remote_code=source.trust_remote_code,
        template_key=TEMPLATE_KEY,
    )


class RewardModelWorker:
    """Ray actor around one reward model. The model is read at the first call, so that what is wrong with it is said."""

    def __init__(self, order: RewardModelOrder) -> None:
        process.configure_logging("reward model")
        if order.settings.device == "cpu":
            torch.set_num_threads(order.num_threads)
        self._order = order
        self._model: RewardModel | None = None

    def start(self) -> None:
        """Read the weights. Raises ConfigError when they are no reward model."""
        self._loaded()

    def score(self, rows: Sequence[Trajectory]) -> Timed:
        """One verdict per row, in order."""
        model = self._loaded()
        start = time.perf_counter()
        verdicts = model.score(rows)
        return Timed(verdicts=verdicts, seconds=time.perf_counter() - start)

    def _loaded(self) -> RewardModel:
        if self._model is None:
            self._model = RewardModel(load_reader(self._order.source), self._order.settings, ClipReader())
        return self._model
