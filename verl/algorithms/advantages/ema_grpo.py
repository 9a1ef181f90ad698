# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Group-relative advantages for a mixture of tasks (EMA-GRPO, arXiv 2512.03043)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from verl.algorithms.advantage import advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, Needs
from verl.algorithms.grouped import group_stats, over_siblings

_MIN_STD = 1e-3
_MAX_ADVANTAGE = 5.0  # a group beyond it is measured by its own std

Moments = Mapping[str, float]  # "mean" of the scores, "square" of their squares


@advantage("ema_grpo", needs=Needs.GROUP | Needs.TASK)
def ema_grpo(x: AdvantageInput) -> AdvantageOutput:
    """A_i = (score_i - mean over the siblings) / (std of the task's scores + 1e-6).

    The std of a task is that of exponential moving averages over the steps, this one included, and part of
    every checkpoint. Siblings of whom one would get more than 5 are divided by their own std (ddof 0).
    """
    assert x.tasks is not None
    scores, eps = x.scores, x.settings.conventions.eps
    moments = _moments(x, x.tasks)
    stds = {task: _std(of_task) for task, of_task in moments.items()}
    above = scores - x.siblings(scores).mean
    by_task = above / (torch.tensor([stds[task] for task in x.tasks], dtype=scores.dtype) + eps)
    by_group = above / (group_stats(scores, x.group, ddof=0).std + eps)
    is_wild = over_siblings(by_task.abs(), x.group, "amax") > _MAX_ADVANTAGE
    output = AdvantageOutput.broadcast(torch.where(is_wild, by_group, by_task), x.mask)
    metrics = {f"advantage/{task.replace(' ', '_')}/std": (stds[task], 1.0) for task in sorted(set(x.tasks))}
    return AdvantageOutput(advantages=output.advantages, returns=output.returns, metrics=metrics, memory=moments)


def _moments(x: AdvantageInput, tasks: tuple[str, ...]) -> dict[str, Moments]:
    """What was remembered of every task, with this step's scores worked in."""
    found: dict[str, Moments] = dict(x.memory)
    decay, all_scores = x.settings.ema_decay, x.scores
    for task in sorted(set(tasks)):
        scores = all_scores[torch.tensor([name == task for name in tasks])]
        now = {"mean": float(scores.mean()), "square": float(scores.square().mean())}
        before = found.get(task, now)
        found[task] = {name: decay * before[name] + (1 - decay) * now[name] for name in now}
    return found


def _std(moments: Moments) -> float:
    variance: float = max(moments["square"] - moments["mean"] ** 2, 0.0)
    return max(variance**0.5, _MIN_STD)
