# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Public benchmarks on the current policy. They are worded and graded by a plug-in; the trainer only generates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

import verl
from verl.config.trainer import Config
from verl.data.dataset import image_source, video_source
from verl.models.adapter import ModelAdapter
from verl.registry import load_attribute
from verl.rollout.engine import SamplingPlan
from verl.tracking.metrics import Last, Metrics
from verl.trainer.handles import Rollout
from verl.types import Prompt

PLUG_IN = Path(verl.__file__).parents[1] / "eval" / "in_training.py"


class BenchmarkSet(Protocol):
    """What the plug-in offers."""

    @property
    def names(self) -> tuple[str, ...]:
        """In the order they are run."""

    def num_media(self, kind: str) -> int:
        """The largest number of videos or of images in one question."""

    def max_tokens(self, name: str) -> int:
        """Tokens that a response may have."""

    def prompts(self, name: str) -> Iterator[Prompt]:
        """Questions that can be asked; the id of a record is that of its item."""

    def figures(self, name: str, responses: Mapping[str, str]) -> Mapping[str, float]:
        """Percentages by name, over all items."""


def open_benchmarks(config: Config, adapter: ModelAdapter) -> BenchmarkSet | None:
    """The benchmarks that `trainer.val_benchmarks` names, seen as the validation videos are; None without any."""
    trainer, data = config.trainer, config.data
    if not trainer.val_benchmarks:
        return None
    video, image = video_source(data, adapter.align, train=False), image_source(data, adapter.align, train=False)
    opened: BenchmarkSet = load_attribute(f"{PLUG_IN}:open_benchmarks")(
        {
            "names": trainer.val_benchmarks,
            "data_root": trainer.val_benchmarks_root,
            "cache_dir": data.val_preprocessed_video_dir or data.preprocessed_video_dir or "outputs/video_cache",
            "style": trainer.val_benchmarks_style,
            "limit": trainer.val_benchmarks_limit,
            "decode_workers": data.dataloader_workers,
        },
        {
            "adapter": adapter,
            "video": video.spec,
            "image": image.spec,
            "max_prompt_length": data.max_prompt_length,
        },
    )
    return opened


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRunner:
    """Asks all questions, greedily."""

    benchmarks: BenchmarkSet
    plan: SamplingPlan
    rollout: Rollout
    batch_size: int

    def run(self) -> Metrics:
        """Figures as `val_benchmark/<name>/<figure>`, in percent."""
        metrics: Metrics = {}
        for name in self.benchmarks.names:
            figures = self.benchmarks.figures(name, self._responses(name))
            metrics |= {f"val_benchmark/{name}/{figure}": Last(value) for figure, value in figures.items()}
        return metrics

    def _responses(self, name: str) -> dict[str, str]:
        greedy = self.plan.greedy()
        plan = replace(greedy, max_tokens=min(greedy.max_tokens, self.benchmarks.max_tokens(name)))
        prompts, responses = self.benchmarks.prompts(name), dict[str, str]()
        while batch := list(islice(prompts, max(self.batch_size, 1))):
            responses |= {row.prompt.record.id: row.text for row in self.rollout.generate(batch, plan)}
        return responses
