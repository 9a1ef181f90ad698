# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How good is the policy now? The held-out prompts, answered and scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from verl.rollout.engine import SamplingPlan
from verl.tracking.generations import Generation
from verl.tracking.metrics import Mean, Metrics, Sum, spread
from verl.tracking.tracker import Trackers
from verl.trainer.benchmarks import BenchmarkRunner
from verl.trainer.clock import Clock
from verl.trainer.collect import generate_and_score
from verl.trainer.handles import Rewards, Rollout
from verl.trainer.modality import by_modality
from verl.types import Prompt, Score, Scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Validator:
    """Runs the whole validation set, in order, and public benchmarks after it."""

    prompts: Sequence[Prompt]
    benchmarks: BenchmarkRunner | None = None
    batch_size: int  # prompts in flight at once; all of them when not positive
    plan: SamplingPlan
    rollout: Rollout
    rewards: Rewards
    trackers: Trackers
    num_generations: int  # sample rows to log
    clock: Clock

    def validate(self, step: int) -> tuple[float | None, Metrics]:
        """Mean overall score, None when no response could be scored, and the metrics."""
        with self.clock("validation"):
            score, metrics = self._own(step) if self.prompts else (None, {})
            return score, metrics | (self.benchmarks.run() if self.benchmarks is not None else {})

    def _own(self, step: int) -> tuple[float | None, Metrics]:
        rows: list[Scored] = []
        size = self.batch_size if self.batch_size > 0 else len(self.prompts)
        for at in range(0, len(self.prompts), size):
            batch = [self.prompts[i] for i in range(at, min(at + size, len(self.prompts)))]
            groups = generate_and_score(batch, self.plan, self.rollout, self.rewards, Clock())
            rows += [row for group in groups for row in group]
        self.trackers.generations([_generation(row) for row in rows[: self.num_generations]], step)
        metrics = _metrics(rows)
        score = metrics["val/reward_score"]
        return (score.value if isinstance(score, Mean) and score.weight else None), metrics


def _metrics(rows: Sequence[Scored]) -> Metrics:
    scored = [(row, row.verdict) for row in rows if isinstance(row.verdict, Score)]
    metrics: Metrics = {
        "val/reward_score": Mean(sum(score.overall for _, score in scored), len(scored)),
        "val/not_scorable": Sum(len(rows) - len(scored)),
    }
    for name in sorted({name for _, score in scored for name in score.parts}):
        values = [score.parts[name] for _, score in scored if name in score.parts]
        metrics[f"val/{name}_reward"] = Mean(sum(values), len(values))
    for task in sorted({row.trajectory.prompt.record.problem_type for row, _ in scored}):
        values = [
            score.parts.get("accuracy", score.overall)
            for row, score in scored
            if row.trajectory.prompt.record.problem_type == task
        ]
        metrics[f"val/{task.replace(' ', '_')}/accuracy"] = Mean(sum(values), len(values))
    lengths = [float(len(row.trajectory.response_ids)) for row in rows]
    return metrics | by_modality("val", rows) | spread("val_response_length", lengths)


def _generation(row: Scored) -> Generation:
    record = row.trajectory.prompt.record
    verdict = row.verdict
    return Generation(
        id=record.id,
        problem=record.problem,
        response=row.trajectory.text,
        answer=str(record.answer),
        score=verdict.overall if isinstance(verdict, Score) else None,
    )
