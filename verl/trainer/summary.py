# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What a step was like, in numbers. Names follow upstream, so dashboards survive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from verl.tracking.metrics import Last, Mean, Metrics, spread
from verl.trainer.drawn import part_means
from verl.trainer.groups import Group, of_policy, values_of
from verl.trainer.modality import by_modality
from verl.types import Experience, Score, Scored, Source, Trajectory


def reward_metrics(groups: Sequence[Group]) -> Metrics:
    """`reward/<part>`, also per task and by modality, over the policy's responses that could be scored; `critic/score`
    over all that are trained on.
    """
    sampled = [row for group in groups for row in of_policy(group)]
    scored = [(row, row.verdict) for row in sampled if isinstance(row.verdict, Score)]
    trained_on = [score for group in groups for score in values_of(_siblings(group))]
    whole = part_means("reward", sampled) | spread("critic/score", trained_on)
    return whole | _per_task(scored) | by_modality("reward", sampled)


def _per_task(scored: Sequence[tuple[Scored, Score]]) -> Metrics:
    metrics: Metrics = {}
    for task in sorted({row.trajectory.prompt.record.problem_type for row, _ in scored}):
        scores = [s for row, s in scored if row.trajectory.prompt.record.problem_type == task]
        accuracy = [score.parts.get("accuracy", score.overall) for score in scores]
        metrics[f"reward/{task.replace(' ', '_')}/accuracy"] = Mean(sum(accuracy), len(accuracy))
    return metrics


def trained_on(groups: Sequence[Group]) -> list[Trajectory]:
    """The responses of a step that could be scored, without greedy baselines."""
    return [row.trajectory for group in groups for row in _siblings(group) if isinstance(row.verdict, Score)]


def _siblings(group: Group) -> Group:
    return [row for row in group if row.trajectory.source is not Source.GREEDY]


def length_metrics(rows: Sequence[Trajectory], max_prompt: int, max_response: int) -> Metrics:
    """Prompt and response lengths in tokens, and the share of each that is at its limit."""
    prompts = [float(len(row.prompt.ids)) for row in rows]
    responses = [float(len(row.response_ids)) for row in rows]
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
    theirs = [float(row.advantages[-1]) for row in rows if row.trajectory.source is Source.OFFLINE]
    return metrics | ({"mix_policy/advantage": Mean(sum(theirs), len(theirs))} if theirs else {})


def value_metrics(rows: Sequence[Experience]) -> Metrics:
    """`critic/values` over response tokens, and the share of the variance of returns that they explain.

    That is 1 - Var(returns - values) / Var(returns), over all tokens of the step; left out where returns are all equal.
    """
    valued = [(row.values, row.returns) for row in rows if row.values is not None]
    if not valued:
        return {}
    values, returns = (np.concatenate(arrays).astype(np.float64) for arrays in zip(*valued, strict=True))
    metrics, variance = spread("critic/values", values.tolist()), returns.var()
    if variance > 0:
        metrics["critic/explained_variance"] = Last(float(1 - (returns - values).var() / variance))
    return metrics


def throughput(rows: Sequence[Trajectory], timing: Mapping[str, float], num_devices: int) -> Metrics:
    """Tokens of prompts and responses per second and device, over the whole step."""
    tokens = sum(row.num_tokens for row in rows)
    seconds = timing.get("timing_s/step", 0.0)
    return {
        "perf/total_num_tokens": Last(tokens),
        "perf/time_per_step": Last(seconds),
        "reward/wait_share": Mean(timing.get("timing_s/reward", 0.0), seconds),
        "perf/throughput": Last(tokens / seconds / num_devices if seconds else 0.0),
    }
