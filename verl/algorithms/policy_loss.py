# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Policy losses by name, and everything they have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from verl.algorithms.aggregate import aggregate, total
from verl.algorithms.contract import Denominators, LossInput, LossOutput, MetricSum, TokenLoss
from verl.algorithms.kl import estimate_kl
from verl.algorithms.masked import token_means, zero_outside
from verl.errors import ConfigError, ContractError
from verl.registry import Registry

LossFunction: TypeAlias = Callable[[LossInput], TokenLoss]


@dataclass(frozen=True, slots=True)
class _Term:
    """A part of the loss: `coef` times the mean of `values`."""

    name: str
    coef: float
    values: Tensor  # [B, R]


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """A named loss."""

    name: str
    function: LossFunction

    def compute(self, x: LossInput) -> LossOutput:
        """The function's loss averaged, plus kl_coef times the KL, minus entropy_coef times the entropy.

        Raises ContractError when an input is missing or the function returns another type or shape.
        """
        x = _without_padding(x)
        y = self.function(x)
        if not isinstance(y, TokenLoss):
            raise ContractError(f"loss {self.name!r} returned {type(y).__name__}, not a TokenLoss")
        if y.values.shape != x.mask.shape:
            shapes = f"{tuple(y.values.shape)}, expected {tuple(x.mask.shape)} [rows, tokens]"
            raise ContractError(f"loss {self.name!r} returned values of shape {shapes}")
        terms = [_Term("pg_loss", 1.0, y.values), *_kl_terms(x), *_entropy_terms(x)]
        divergence = token_means(x.mask, ppo_kl=x.old_logprobs - x.logprobs.detach())
        metrics = {**divergence, **y.metrics, **_means(terms, x)}
        return LossOutput(loss=_sum(terms, x), metrics={f"actor/{name}": value for name, value in metrics.items()})


def _without_padding(x: LossInput) -> LossInput:
    streams = ("logprobs", "old_logprobs", "advantages", "ref_logprobs", "rollout_logprobs", "entropy")
    given = {name: getattr(x, name) for name in streams}
    kept: dict[str, Any] = {name: zero_outside(t, x.mask) for name, t in given.items() if t is not None}
    return replace(x, **kept)


def _kl_terms(x: LossInput) -> list[_Term]:
    if not x.settings.use_kl_loss:
        return []
    if x.ref_logprobs is None:
        raise ContractError("use_kl_loss needs the log-probs of a reference policy: not supplied")
    kl = estimate_kl(x.logprobs, x.ref_logprobs, x.settings.kl_kind)
    return [_Term("kl_loss", x.settings.kl_coef, kl)]


def _entropy_terms(x: LossInput) -> list[_Term]:
    """The entropy where it is known, and always its estimate from the sampled tokens, which is only logged."""
    estimate = _Term("entropy_loss", 0.0, -x.logprobs)
    if x.entropy is not None:
        return [estimate, _Term("entropy", -x.settings.entropy_coef, x.entropy)]
    if x.settings.entropy_coef:
        raise ContractError("entropy_coef needs the entropy of every token: not supplied")
    return [estimate]


def _sum(terms: list[_Term], x: LossInput) -> Tensor:
    shares = [t.coef * aggregate(t.values, x.mask, x.settings.average, x.denominators) for t in terms if t.coef]
    return torch.stack(shares).sum()


def _means(terms: list[_Term], x: LossInput) -> dict[str, MetricSum]:
    """Every term before its coefficient, as the loss averages it."""
    average = x.settings.average
    totals = torch.stack([total(term.values.detach(), x.mask, average) for term in terms]).tolist()
    weight = Denominators.of(x.mask).count(average)
    metrics: dict[str, MetricSum] = {term.name: (number, weight) for term, number in zip(terms, totals, strict=True)}
    return {**metrics, "kl_coef": (x.settings.kl_coef, 1.0)} if x.settings.use_kl_loss else metrics


LOSSES: Registry[PolicyLoss] = Registry("policy loss", "verl.algorithms.losses")


def loss(*names: str) -> Callable[[LossFunction], PolicyLoss]:
    """Decorator that makes a function a policy loss, filed under `names`. A user's file needs no name."""

    def wrap(function: LossFunction) -> PolicyLoss:
        return LOSSES.register(*names)(PolicyLoss((*names, function.__name__)[0], function))

    return wrap


def find_loss(name: str) -> PolicyLoss:
    """By registered name, or "file.py:function" with or without the decorator. Raises ConfigError."""
    found: object = LOSSES.resolve(name)
    if isinstance(found, PolicyLoss):
        return found
    if not callable(found):
        raise ConfigError(f"{name!r} is a {type(found).__name__}; a function is needed")
    return PolicyLoss(name, found)
