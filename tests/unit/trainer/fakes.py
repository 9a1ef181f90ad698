# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Handles without processes: they remember what they were asked, in order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from tests.rows import prompt, trajectory
from verl.rollout.engine import Ask, EngineStats
from verl.tracking.metrics import Max, Mean
from verl.types import Score, Scored, Source


@dataclass
class FakePolicy:
    diary: list = field(default_factory=list)
    num_hands: int = 2
    gap: float = 0.0
    kl_coefs: list = field(default_factory=list)
    updates: list = field(default_factory=list)

    def logprobs(self, dealt):
        self.diary.append("logprobs")
        hands = [[row.rollout_logprobs + np.float32(self.gap) for row in hand] for hand in dealt.hands]
        return dealt.gather(hands)

    def logprobs_and_squares(self, dealt):
        """The squares tell rows apart, in which order they are dealt or not."""
        self.diary.append("logprobs_and_squares")
        squares = {0: 0.5, 1: 0.4, 2: 0.7, 3: 0.6}
        hands = [
            [
                (row.rollout_logprobs + np.float32(self.gap), np.full(len(row.response_ids), squares[row.index], "f4"))
                for row in hand
            ]
            for hand in dealt.hands
        ]
        return dealt.gather(hands)

    def ref_logprobs(self, dealt):
        self.diary.append("ref_logprobs")
        return dealt.gather([[row.rollout_logprobs - np.float32(1.0) for row in hand] for hand in dealt.hands])

    def update(self, steps, kl_coef):
        self.kl_coefs.append(kl_coef)
        self.updates += steps
        self.diary.append(("update", [sum(map(len, step.hands)) for step in steps]))
        return {"actor/pg_loss": Mean(0.25)}

    def publish(self, version):
        self.diary.append(("publish", version))

    def end_step(self):
        return {}

    def save(self, directory):
        self.diary.append(("save", directory.name))
        shards = directory / "shards"
        shards.mkdir(parents=True)
        (shards / ".metadata").write_bytes(b"x")

    def load(self, directory):
        self.diary.append(("load", directory.parent.name))


@dataclass
class FakeRollout:
    """Finishes responses in reverse order, as an engine may."""

    diary: list = field(default_factory=list)
    plans: list = field(default_factory=list)

    def generate(self, prompts, plan, asks=None):
        self.diary.append("generate")
        self.plans.append(plan)
        asks = asks or [Ask(n=plan.n)] * len(prompts)
        for group in reversed(range(len(prompts))):
            if asks[group].greedy:
                yield replace(trajectory(group, plan.n, of=prompts[group]), source=Source.GREEDY)
            for index in reversed(range(asks[group].n)):
                yield trajectory(group, index, of=prompts[group])

    def sleep(self):
        self.diary.append("sleep")
        return {"perf/memory_after_sleep_gb": Max(5.0)}

    def wake_weights(self):
        self.diary.append("wake_weights")

    def wake_cache(self):
        self.diary.append("wake_cache")

    def drain_stats(self):
        return EngineStats()


@dataclass
class FakeRewards:
    """The first sibling is right, the others are wrong."""

    waiting: list = field(default_factory=list)

    def submit(self, row):
        self.waiting.append(row)

    def drain_metrics(self):
        return {}

    def collect(self):
        rows, self.waiting = self.waiting, []
        return [
            Scored(
                trajectory=row,
                verdict=Score(overall=float(row.index == 0), parts={"accuracy": float(row.index == 0)}),
            )
            for row in rows
        ]


@dataclass
class FakeLoader:
    batch_size: int
    position: int = 0

    def next(self):
        self.position += self.batch_size
        return [prompt(f"r{i}") for i in range(self.position - self.batch_size, self.position)]

    def row_of(self, prompt):
        return int(prompt.record.id.removeprefix("r"))

    def prompt_of(self, row):
        return prompt(f"r{row}")

    def state(self):
        return {"position": self.position}

    def restore(self, state):
        self.position = state["position"]
