# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Every advantage again, as slowly and plainly as possible: Python floats, loops, nothing shared with the package."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

Rows = list[list[float]]


@dataclass(frozen=True)
class Given:
    """A step's rows. Rewards and values may be nan where the mask is 0."""

    rewards: Rows
    mask: list[list[bool]]
    group: list[int]
    values: Rows
    baselines: list[float]
    parts: dict[str, list[float]]
    tasks: list[str]
    weights: list[float]
    gamma: float
    lam: float
    old_logprobs: Rows
    sum_pi_squared: Rows
    importance: Rows
    memory: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def scores(self) -> list[float]:
        return [sum(row[t] for t in inside(mask)) for row, mask in zip(self.rewards, self.mask, strict=True)]

    def siblings(self, row: int) -> list[int]:
        return [other for other in range(len(self.group)) if self.group[other] == self.group[row]]


def inside(mask: list[bool]) -> list[int]:
    return [t for t, kept in enumerate(mask) if kept]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def std(values: list[float], ddof: int = 1) -> float:
    if len(values) <= ddof or max(values) == min(values):
        return 0.0
    centre = mean(values)
    return math.sqrt(sum((v - centre) ** 2 for v in values) / (len(values) - ddof))


def over_tokens(x: Given, advantages: list[float]) -> Rows:
    return [[a if kept else 0.0 for kept in mask] for a, mask in zip(advantages, x.mask, strict=True)]


def whiten(x: Given, rows: Rows) -> Rows:
    kept = [row[t] for row, mask in zip(rows, x.mask, strict=True) for t in inside(mask)]
    centre, scale = mean(kept), math.sqrt(std(kept) ** 2 + 1e-8)
    return [
        [(v - centre) / scale if inside_ else 0.0 for v, inside_ in zip(row, mask, strict=True)]
        for row, mask in zip(rows, x.mask, strict=True)
    ]


def relative(x: Given, values: list[float], by_std: bool) -> list[float]:
    found = []
    for row, value in enumerate(values):
        others = [values[j] for j in x.siblings(row)]
        above = value - mean(others)
        found.append(above / (std(others) + 1e-6) if by_std else above)
    return found


def grpo(x: Given) -> Rows:
    return over_tokens(x, relative(x, x.scores, by_std=True))


def dr_grpo(x: Given) -> Rows:
    return over_tokens(x, relative(x, x.scores, by_std=False))


def grpo_passk(x: Given) -> Rows:
    found = []
    for row, score in enumerate(x.scores):
        others = [x.scores[j] for j in x.siblings(row) if j != row]
        found.append(score - max(others) if others and score > max(others) else 0.0)
    return over_tokens(x, found)


def rloo(x: Given) -> Rows:
    found = []
    for row, score in enumerate(x.scores):
        others = [x.scores[j] for j in x.siblings(row) if j != row]
        found.append(score - mean(others) if others else 0.0)
    return over_tokens(x, found)


def rewards_to_go(x: Given, gamma: float) -> Rows:
    found = []
    for rewards, mask in zip(x.rewards, x.mask, strict=True):
        row, running = [0.0] * len(mask), 0.0
        for t in reversed(inside(mask)):
            running = rewards[t] + gamma * running
            row[t] = running
        found.append(row)
    return found


def reinforce_plus_plus(x: Given) -> Rows:
    return whiten(x, rewards_to_go(x, x.gamma))


def reinforce_plus_plus_baseline(x: Given) -> Rows:
    return whiten(x, dr_grpo(x))


def remax(x: Given) -> Rows:
    returns = rewards_to_go(x, 1.0)
    return [
        [value - baseline if kept else 0.0 for value, kept in zip(row, mask, strict=True)]
        for row, mask, baseline in zip(returns, x.mask, x.baselines, strict=True)
    ]


def gae_before_whitening(x: Given) -> Rows:
    found = []
    for rewards, values, mask in zip(x.rewards, x.values, x.mask, strict=True):
        row, running, upcoming = [0.0] * len(mask), 0.0, 0.0
        for t in reversed(inside(mask)):
            running = rewards[t] + x.gamma * upcoming - values[t] + x.gamma * x.lam * running
            row[t], upcoming = running, values[t]
        found.append(row)
    return found


def gae(x: Given) -> Rows:
    return whiten(x, gae_before_whitening(x))


def gdpo_total(x: Given) -> list[float]:
    parts = [relative(x, values, by_std=True) for values in x.parts.values()]
    return [sum(w * part[row] for w, part in zip(x.weights, parts, strict=True)) for row in range(len(x.group))]


def gdpo(x: Given) -> Rows:
    total = gdpo_total(x)
    return over_tokens(x, [(value - mean(total)) / (std(total) + 1e-6) for value in total])


def gdpo_by_token(x: Given) -> Rows:
    return whiten(x, over_tokens(x, gdpo_total(x)))


def opo(x: Given) -> Rows:
    lengths, found = [len(inside(mask)) for mask in x.mask], []
    for row, score in enumerate(x.scores):
        tokens = sum(lengths[j] for j in x.siblings(row))
        weighted = sum(lengths[j] * x.scores[j] for j in x.siblings(row))
        found.append(score - weighted / tokens if tokens else 0.0)
    return over_tokens(x, found)


def scatter(x: Given, row: int, token: int) -> float:
    """W: of the gradient of a response up to `token`."""
    total = 0.0
    for t in inside(x.mask[row]):
        if t <= token:
            own = 1 - 2 * math.exp(x.old_logprobs[row][t]) + x.sum_pi_squared[row][t]
            total += own * x.importance[row][t] ** 2
    return total


def optimal_token_baseline(x: Given) -> Rows:
    returns, found = rewards_to_go(x, 1.0), []
    for row, mask in enumerate(x.mask):
        advantages = [0.0] * len(mask)
        for t in inside(mask):
            there = [j for j in x.siblings(row) if x.mask[j][t]]
            weights = [scatter(x, j, t) for j in there]
            weighted = sum(weight * returns[j][t] for weight, j in zip(weights, there, strict=True))
            baseline = weighted / sum(weights) if len(there) > 1 else 0.0
            advantages[t] = returns[row][t] - baseline if len(x.siblings(row)) > 1 else 0.0
        found.append(advantages)
    return found


def gpg(x: Given) -> Rows:
    alpha = len(x.scores) / max(sum(score != 0 for score in x.scores), 1)
    return over_tokens(x, [alpha * above for above in relative(x, x.scores, by_std=False)])


def ema_moments(x: Given, decay: float = 0.99) -> dict[str, dict[str, float]]:
    found = dict(x.memory)
    for task in set(x.tasks):
        scores = [score for score, name in zip(x.scores, x.tasks, strict=True) if name == task]
        now = {"mean": mean(scores), "square": mean([score * score for score in scores])}
        before = x.memory.get(task, now)
        found[task] = {name: decay * before[name] + (1 - decay) * now[name] for name in now}
    return found


def ema_grpo(x: Given) -> Rows:
    moments, found = ema_moments(x), []
    for row in range(len(x.scores)):
        of_task = moments[x.tasks[row]]
        spread = max(math.sqrt(max(of_task["square"] - of_task["mean"] ** 2, 0.0)), 1e-3) + 1e-6
        siblings = [x.scores[j] for j in x.siblings(row)]
        if any(abs(score - mean(siblings)) / spread > 5 for score in siblings):
            spread = std(siblings, ddof=0) + 1e-6
        found.append((x.scores[row] - mean(siblings)) / spread)
    return over_tokens(x, found)
