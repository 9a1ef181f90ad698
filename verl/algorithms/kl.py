# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How far a policy is from its reference: estimators per token, KL in the reward, and its coefficient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from verl.algorithms.contract import KlKind, MetricSum
from verl.algorithms.masked import row_means, zero_outside
from verl.algorithms.ratio import MAX_LOG_RATIO
from verl.errors import ConfigError
from verl.registry import nearest

_MAX_LOW_VAR = 10.0


def _low_var(gap: Tensor) -> Tensor:
    clamped = gap.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return ((-clamped).exp() + clamped - 1).clamp(-_MAX_LOW_VAR, _MAX_LOW_VAR)


def _squared(gap: Tensor) -> Tensor:
    return 0.5 * gap.square()


_ESTIMATORS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "kl": lambda gap: gap,
    "k1": lambda gap: gap,
    "abs": lambda gap: gap.abs(),
    "mse": _squared,
    "k2": _squared,
    "low_var_kl": _low_var,
    "k3": _low_var,
}


def estimate_kl(
    logprobs: Float[Tensor, "B R"], ref_logprobs: Float[Tensor, "B R"], kind: KlKind
) -> Float[Tensor, "B R"]:
    """KL per token from the log-probs of the sampled tokens (http://joschu.net/blog/kl-approx.html).

    With d = logprobs - ref_logprobs: "kl" or "k1" is d, "abs" |d|, "mse" or "k2" d^2 / 2, "low_var_kl" or "k3"
    exp(-d) + d - 1, the last one with d kept in [-20, 20] and the result below 10. A "+" behind the name keeps the
    value and takes the gradient of "k2", which alone is that of the KL on policy (arXiv 2512.21852). Raises
    ConfigError for "full" and unknown names.
    """
    if kind == "full":
        raise ConfigError(
            "kl_penalty 'full' needs the whole distribution at every token, and only the log-prob of the "
            "sampled token is kept; use 'low_var_kl', 'kl', 'mse' or 'abs'"
        )
    name = kind.removesuffix("+")
    if name not in _ESTIMATORS:
        raise ConfigError(f"unknown KL estimator {kind!r}{nearest(name, _ESTIMATORS)}")
    gap = logprobs - ref_logprobs
    value = _ESTIMATORS[name](gap)
    if name == kind:
        return value
    slope = _squared(gap)
    return slope - slope.detach() + value.detach()


@runtime_checkable
class KlController(Protocol):
    """Decides the coefficient of a KL penalty from step to step."""

    kind: KlKind
    coef: float

    def update(self, kl: float, num_rows: int) -> None:
        """Take note of a step's mean KL and its number of responses."""

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps, as JSON values."""

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue from a `state`."""


class FixedKl:
    """Always the configured coefficient, also after a resume."""

    def __init__(self, kind: KlKind, coef: float) -> None:
        self.kind = kind
        self.coef = coef

    def update(self, kl: float, num_rows: int) -> None:
        """Nothing to learn."""

    def state(self) -> dict[str, float]:
        """Empty."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Nothing to restore."""


class AdaptiveKl:
    """Steers the KL towards `target`, by at most a fifth per `horizon` responses (arXiv 1909.08593)."""

    def __init__(self, kind: KlKind, coef: float, *, target: float, horizon: float) -> None:
        if target <= 0 or horizon <= 0:
            raise ConfigError(f"kl_target and kl_horizon must be positive, not {target} and {horizon}")
        self.kind = kind
        self.coef = coef
        self._target = target
        self._horizon = horizon

    def update(self, kl: float, num_rows: int) -> None:
        """Raise the coefficient when `kl` is above the target, lower it when below."""
        error = min(max(kl / self._target - 1, -0.2), 0.2)
        self.coef *= 1 + error * num_rows / self._horizon

    def state(self) -> dict[str, float]:
        """The coefficient."""
        return {"coef": self.coef}

    def restore(self, state: Mapping[str, float]) -> None:
        """Take the coefficient back. A checkpoint of a run with a fixed one has none: start as configured."""
        self.coef = float(state.get("coef", self.coef))


@dataclass(frozen=True, slots=True, kw_only=True)
class PenalisedRewards:
    """Rewards after the KL penalty."""

    rewards: Float[Tensor, "B R"]
    metrics: Mapping[str, MetricSum]  # full names


def apply_kl_penalty(
    rewards: Float[Tensor, "B R"],
    logprobs: Float[Tensor, "B R"],
    ref_logprobs: Float[Tensor, "B R"],
    mask: Bool[Tensor, "B R"],
    controller: KlController,
) -> PenalisedRewards:
    """KL in the reward: every token pays the coefficient times its KL; the controller then learns the mean."""
    kl = zero_outside(estimate_kl(logprobs, ref_logprobs, controller.kind), mask)
    penalised = rewards - controller.coef * kl
    return PenalisedRewards(rewards=penalised, metrics=_teach(controller, kl, mask))


def measure_kl(
    logprobs: Float[Tensor, "B R"],
    ref_logprobs: Float[Tensor, "B R"],
    mask: Bool[Tensor, "B R"],
    controller: KlController,
) -> Mapping[str, MetricSum]:
    """KL in the loss: the controller learns the same mean as it would with KL in the reward. Metrics by full names."""
    kl = zero_outside(estimate_kl(logprobs, ref_logprobs, controller.kind), mask)
    metrics = _teach(controller, kl, mask)
    return {"actor/kl_at_start": metrics["actor/kl_penalty"]}


def _teach(controller: KlController, kl: Float[Tensor, "B R"], mask: Bool[Tensor, "B R"]) -> dict[str, MetricSum]:
    """The mean is over the rows of each row's mean, as upstream logs and steers it."""
    total, num_rows = float(row_means(kl, mask).sum()), int(mask.any(-1).sum())
    metrics = {"actor/kl_penalty": (total, float(num_rows)), "actor/kl_coef": (controller.coef, 1.0)}
    controller.update(total / max(num_rows, 1), num_rows)
    return metrics
