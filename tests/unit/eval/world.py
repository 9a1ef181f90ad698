# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""An engine and questions without a model, to test what happens around them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np

from eval.aggregate import micro
from eval.benchmark import Benchmark, Wording
from eval.item import EvalItem, Grade, Medium
from tests.rows import prompt as make_prompt
from verl.errors import DataError, WorkerError
from verl.rollout.engine import EngineStats, SamplingPlan
from verl.types import Prompt, Trajectory


def item(id: str, video: str = "a.mp4", **fields) -> EvalItem:
    """A question with two options, whose answer is B."""
    given = {"media": (), "question": "Which?", "answer": "B", "options": ("red", "blue")} | fields
    return EvalItem(id=id, video=video, problem_type="multiple choice", **given)


def letter(item: EvalItem, response: str) -> Grade:
    """The first letter, "?" for a judge."""
    first = response.strip()[:1]
    return Grade(score=None if first == "?" else float(first == item.answer), parsed=first or None)


TOY = Benchmark(
    name="toy",
    title="Toy",
    source="here",
    read=lambda path: [item(line, line.split("-")[0]) for line in path.read_text().split()],
    num_items=4,
    ask={"official": lambda item, media: Wording(user=item.question)},
    official=letter,
    aggregate=lambda rows: {"overall": micro(rows)},
)


class ToyQuestions:
    """Words any item but those whose id says that it cannot be worded."""

    blind = True
    style = "official"
    benchmark = TOY

    def build(self, item: EvalItem) -> Prompt:
        if "unworded" in item.id:
            raise DataError("this item cannot be worded")
        return make_prompt(item.id)


class ToyEngine:
    """Answers B, what `answers` says, or dies when a question is deadly."""

    def __init__(self, answers: dict[str, str] | None = None, deadly: dict[str, int] | None = None) -> None:
        self.answers = answers or {}
        self.deadly = deadly if deadly is not None else {}  # question -> how often it still kills
        self.asked: list[tuple[str, int]] = []
        self.dead = False
        self.tokens = 0
        self.running = self.most_running = 0

    async def start(self) -> None:
        """It is there."""

    async def generate_group(self, prompt: Prompt, group: int, plan: SamplingPlan) -> AsyncIterator[Trajectory]:
        name = prompt.record.id
        self.asked.append((name, plan.max_tokens))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(0.001)
            if self.deadly.get(name, 0) > 0:
                self.deadly[name] -= 1
                self.dead = True
            if self.dead:
                raise WorkerError("the engine died")
            if self.answers.get(name) == "!":
                raise WorkerError("gave up on this one")
        finally:
            self.running -= 1
        self.tokens += 2
        yield Trajectory(
            prompt=prompt,
            group=group,
            index=0,
            response_ids=np.ones(2, np.int32),
            rollout_logprobs=np.zeros(2, np.float32),
            text=self.answers.get(name, "B"),
            truncated=False,
        )

    async def tokens_made(self) -> int:
        return self.tokens

    async def check(self) -> None:
        if self.dead:
            raise WorkerError("dead")

    async def drain_stats(self) -> EngineStats:
        return EngineStats(num_rows=len(self.asked))

    async def close(self) -> None:
        """It is gone."""


def media_item(id: str, path: Path) -> EvalItem:
    """A question about a real file."""
    return item(id, path.name, media=(Medium(path=str(path)),))
