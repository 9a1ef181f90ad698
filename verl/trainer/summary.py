# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What a step was like, in numbers. Names follow upstream, so dashboards survive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from verl.tracking.metrics import Last, Mean, Metrics, spread
from verl.trainer.collect import Group
from verl.types import Experience, Score, Scored


def reward_metrics(groups: Sequence[Group]) -> Metrics:
    """`reward/<part>` and `critic/score` over the responses that could be scored, and per task."""
    scored = [(row, row.verdict) for group in groups for row in group if isinstance(row.verdict, Score)]
    metrics: Metrics = {"reward/overall": Mean(sum(score.overall for _, score in scored), len(scored))}
    metrics |= spread("critic/score", [score.overall for _, score in scored])
    for name in sorted({name for _, score in scored for name in score.parts}):
        values = [score.parts[name] for _, score in scored if name in score.parts]
        metrics[f"reward/{name}"] = Mean(sum(values), len(values))
    return metrics | _per_task(scored)


def _per_task(scored: Sequence[tuple[Scored, Score]]) -> Metrics:
    metrics: Metrics = {}
    for task in sorted({row.trajectory.prompt.record.problem_type for row, _ in scored}):
        scores = [s for row, s in scored if row.trajectory.prompt.record.problem_type == task]
        accuracy = [score.parts.get("accuracy", score.overall) for score in scores]
        metrics[f"reward/{task.replace(' ', '_')}/accuracy"] = Mean(sum(accuracy), len(accuracy))
    return metrics


def length_metrics(rows: Sequence[Experience], max_prompt: int, max_response: int) -> Metrics:
    """Prompt and response lengths in tokens, and the share of each that is at its limit."""
    prompts = [float(len(row.trajectory.prompt.ids)) for row in rows]
    responses = [float(len(row.trajectory.response_ids)) for row in rows]
    metrics = spread("prompt_length", prompts) | spread("response_length", responses)
    metrics["prompt_length/clip_ratio"] = Mean(sum(n >= max_prompt for n in prompts), len(rows))
    metrics["response_length/clip_ratio"] = Mean(sum(n >= max_response for n in responses), len(rows))
    return metrics


def advantage_metrics(rows: Sequence[Experience]) -> Metrics:
    """`critic/advantages` and `critic/returns` over response tokens."""
    metrics: Metrics = {}
    for name, arrays in (
        ("advantages", [r.advantages for r in rows]),
        ("returns", [r.returns for r in rows]),
    ):
        values = [float(value) for array in arrays for value in array]
        metrics |= spread(f"critic/{name}", values)
    return metrics


def throughput(rows: Sequence[Experience], timing: Mapping[str, float], num_devices: int) -> Metrics:
    """Tokens of prompts and responses per second and device, over the whole step."""
    tokens = sum(row.trajectory.num_tokens for row in rows)
    seconds = timing.get("timing_s/step", 0.0)
    return {
        "perf/total_num_tokens": Last(tokens),
        "perf/time_per_step": Last(seconds),
        "perf/throughput": Last(tokens / seconds / num_devices if seconds else 0.0),
    }
