# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Policy losses of one response, as slowly and plainly as possible: lists of Python floats, nothing shared.

`p` are log-probs, `q` those before, `a` advantages. `frozen` are the log-probs wherever a formula stops the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LOW, HIGH, DUAL = 0.2, 0.3, 3.0
Floats = Sequence[float]


@dataclass(frozen=True)
class Response:
    p: Floats
    q: Floats
    a: Floats
    frozen: Floats
    chosen: Sequence[bool] = ()  # of losses that choose


def _bounded(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _clipped(ratio: float, advantage: float) -> float:
    loss = max(-ratio * advantage, -_bounded(ratio, 1 - LOW, 1 + HIGH) * advantage)
    return min(loss, -DUAL * advantage) if advantage < 0 else loss


def ppo(r: Response) -> list[float]:
    return [_clipped(math.exp(p - q), a) for p, q, a in zip(r.p, r.q, r.a, strict=True)]


def _mean_ratio(p: Floats, q: Floats) -> float:
    return math.prod(math.exp(x - y) for x, y in zip(p, q, strict=True)) ** (1 / len(p))


def gspo(r: Response) -> list[float]:
    ratio = _mean_ratio(r.p, r.q)
    return [_clipped(ratio, a) for a in r.a]


def gspo_token(r: Response) -> list[float]:
    ratio = _mean_ratio(r.frozen, r.q)
    return [_clipped(ratio * math.exp(p) / math.exp(f), a) for p, f, a in zip(r.p, r.frozen, r.a, strict=True)]


def cispo(r: Response) -> list[float]:
    rows = zip(r.p, r.q, r.a, r.frozen, strict=True)
    return [-min(math.exp(f - q), 1 + HIGH) * a * p for p, q, a, f in rows]


def sapo(r: Response) -> list[float]:
    losses = []
    for p, q, a in zip(r.p, r.q, r.a, strict=True):
        tau = 1.0 if a > 0 else 1.05
        losses.append(-a * 4 / tau / (1 + math.exp(-tau * (math.exp(p - q) - 1))))
    return losses


def gmpo(r: Response) -> list[float]:
    logs = []
    for p, q, a in zip(r.p, r.q, r.a, strict=True):
        log = p - q
        logs.append(min(log, HIGH) if a > 0 else max(log, -LOW) if a < 0 else log)
    ratio = math.exp(sum(logs) / len(logs))
    return [-ratio * sum(r.a) / len(r.a)] * len(logs)


def gpg(r: Response) -> list[float]:
    return [-a * p for p, a in zip(r.p, r.a, strict=True)]


def dro(r: Response) -> list[float]:
    return [-(a * p - 0.25 * (p - q) ** 2) for p, q, a in zip(r.p, r.q, r.a, strict=True)]


def _dppo(r: Response, divergence: Callable[[float, float], float]) -> list[float]:
    losses = []
    for p, q, a, f in zip(r.p, r.q, r.a, r.frozen, strict=True):
        far = divergence(math.exp(f), math.exp(q))
        stops = (a > 0 and f > q and far > HIGH) or (a < 0 and f < q and far > LOW)
        losses.append(0.0 if stops else -min(math.exp(f - q), DUAL) * a * p)
    return losses


def dppo_tv(r: Response) -> list[float]:
    return _dppo(r, lambda new, old: abs(new - old))


def dppo_kl(r: Response) -> list[float]:
    return _dppo(r, lambda new, old: old * math.log(old / new) + (1 - old) * math.log((1 - old) / (1 - new)))


def vespo(r: Response) -> list[float]:
    weight = math.prod(math.exp(f - q) for f, q in zip(r.frozen, r.q, strict=True))
    losses = []
    for p, a in zip(r.p, r.a, strict=True):
        k, lam = (2, 3) if a >= 0 else (3, 2)
        losses.append(-(weight**k) * math.exp(lam * (1 - weight)) * a * p)
    return losses


def clip_cov(r: Response) -> list[float]:
    losses = []
    for p, q, a, is_chosen in zip(r.p, r.q, r.a, r.chosen, strict=True):
        ratio = math.exp(p - q)
        is_held = (a > 0 and ratio > 1 + HIGH) or (a < 0 and ratio < 1 - LOW)
        losses.append(0.0 if is_chosen and not is_held else max(-ratio * a, -_bounded(ratio, 1 - LOW, 1 + HIGH) * a))
    return losses


def kl_cov(r: Response) -> list[float]:
    rows = zip(r.p, r.q, r.a, r.chosen, strict=True)
    return [-math.exp(p - q) * a + (0.1 * abs(p - q) if is_chosen else 0.0) for p, q, a, is_chosen in rows]


LOSSES: dict[str, Callable[[Response], list[float]]] = {
    "default": ppo,
    "gspo": gspo,
    "gspo_token": gspo_token,
    "cispo": cispo,
    "sapo": sapo,
    "gmpo": gmpo,
    "gpg": gpg,
    "dro": dro,
    "dppo_tv": dppo_tv,
    "dppo_kl": dppo_kl,
    "vespo": vespo,
    "clip_cov": clip_cov,
    "kl_cov": kl_cov,
}


def by_covariance(p: Floats, a: Floats) -> list[float]:
    """Of all tokens of an update, in any order."""
    mean_p, mean_a = math.fsum(p) / len(p), math.fsum(a) / len(a)
    return [(y - mean_a) * (x - mean_p) for x, y in zip(p, a, strict=True)]


def choose_clip_cov(p: Floats, a: Floats, lots: Floats, ratio: float, bounds: tuple[float, float]) -> set[int]:
    within = [i for i, value in enumerate(by_covariance(p, a)) if bounds[0] < value < bounds[1]]
    return set(sorted(within, key=lambda i: lots[i])[: max(int(ratio * len(p)), 1)])


def choose_kl_cov(p: Floats, a: Floats, lots: Floats, ratio: float) -> set[int]:
    values = by_covariance(p, a)
    order = sorted(range(len(p)), key=lambda i: (-values[i], lots[i]))
    return set(order[: max(int(ratio * len(p)), 1)])


def average(rows: Sequence[Floats], mode: str, constant: float) -> float:
    """One number from the losses per token, rows without any left out."""
    rows = [row for row in rows if row]
    sums = [sum(row) for row in rows]
    return {
        "token": sum(sums) / sum(map(len, rows)),
        "seq": sum(sum(row) / len(row) for row in rows) / len(rows),
        "seq_sum": sum(sums) / len(rows),
        "seq_norm": sum(s / constant for s in sums) / len(rows),
        "sum": sum(sums),
    }[mode]


def mean_seq(rows: Sequence[Floats]) -> float:
    return average(rows, "seq", 1.0)


def luffy(p: float, gamma: float) -> float:
    return math.exp(p) / (math.exp(p) + gamma)


def correction_weights(
    ours: Sequence[Floats], theirs: Sequence[Floats], level: str, bounds: tuple[float, float, bool], normalize: bool
) -> list[list[float]]:
    """Truncated importance weights of ragged rows; `bounds` are low, high, and whether outside is 0."""
    low, high, cuts = bounds
    found = []
    for a, b in zip(ours, theirs, strict=True):
        rho = [math.exp(x - y) for x, y in zip(a, b, strict=True)]
        if level == "sequence":
            rho = [math.prod(rho)] * len(rho)
        found.append([(r if low <= r <= high else 0.0) if cuts else min(r, high) for r in rho])
    if normalize:
        counted = [row[0] for row in found if row] if level == "sequence" else [w for row in found for w in row]
        mean = max(sum(counted) / len(counted), 1e-8)
        found = [[w / mean for w in row] for row in found]
    return found


def rejected(ours: Floats, theirs: Floats, rule: tuple[str, str, float, float]) -> list[bool]:
    """Which tokens of one response a rule takes out."""
    reach, kind, low, high = rule
    logs = [a - b for a, b in zip(ours, theirs, strict=True)]
    statistic = {"k1": lambda d: d, "k2": lambda d: d * d / 2, "k3": lambda d: math.exp(d) - 1 - d}[kind]
    values = [statistic(d) for d in logs]
    whole = {"seq_sum": sum(values), "seq_mean": sum(values) / len(values), "seq_max": max(values)}
    judged = values if reach == "token" else [whole[reach]] * len(values)
    judged = [math.exp(v) for v in judged] if kind == "k1" else judged
    return [not low <= v <= high for v in judged]
