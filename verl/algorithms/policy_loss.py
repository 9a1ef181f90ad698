# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Policy losses by name, and everything they have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from verl.algorithms.aggregate import aggregate, total
from verl.algorithms.contract import (
    Average,
    ChoiceInput,
    Denominators,
    LossInput,
    LossOutput,
    LossSettings,
    MetricSum,
    Option,
    TokenLoss,
)
from verl.algorithms.kl import estimate_kl
from verl.algorithms.masked import row_means, token_means, zero_outside
from verl.algorithms.off_policy import blend
from verl.algorithms.ratio import log_ratios
from verl.errors import ConfigError, ContractError
from verl.registry import Registry, is_built_in, nearest

LossFunction: TypeAlias = Callable[[LossInput], TokenLoss]
ChoiceFunction: TypeAlias = Callable[[ChoiceInput], Tensor]  # [B, R] bool


@dataclass(frozen=True, slots=True)
class _Term:
    """A part of the loss: `coef` times the mean of `values`."""

    name: str
    coef: float
    values: Tensor  # [B, R]
    average: Average


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """A named loss."""

    name: str
    function: LossFunction
    options: tuple[str, ...] = ()  # numbers that it cannot do without
    defaults: Mapping[str, float] = field(default_factory=dict)  # numbers that need not be set, and what they are then
    choice: ChoiceFunction | None = None  # of tokens of the whole update, which the function finds in `chosen`

    def check(self, options: Mapping[str, Option]) -> None:
        """Raises ConfigError unless `options` have every number that this loss needs, and for names that it does not
        know: what it declares is all, but for a loss of a user's own without defaults. A choice is tried on a token."""
        for name in options if self.defaults or is_built_in(self.function) else ():
            if name not in self._known:
                known = ", ".join(self._known) or "none"
                raise ConfigError(
                    f"worker.actor.loss_options.{name} is no number of {self.name!r}{nearest(name, self._known)}"
                    f" (known: {known})"
                )
        for name in self._known:
            _number({**self.defaults, **options}, name)
        if self.choice is not None:
            one = torch.zeros(1, 1)
            told = LossSettings(options=options)
            self.choose(ChoiceInput(logprobs=one, advantages=one, lots=one, mask=one == 0, settings=told))

    @property
    def _known(self) -> tuple[str, ...]:
        return (*self.options, *self.defaults)

    def choose(self, x: ChoiceInput) -> Tensor:
        """The tokens [B, R] that the choice of this loss takes, which must have one. Raises ContractError when it
        returns something else."""
        if self.choice is None:
            raise ContractError(f"loss {self.name!r} has no choice to make")
        chosen: object = self.choice(replace(x, settings=self._with_defaults(x.settings)))
        if not isinstance(chosen, Tensor) or chosen.dtype != torch.bool or chosen.shape != x.mask.shape:
            raise ContractError(f"the choice of loss {self.name!r} is no bool tensor of shape {tuple(x.mask.shape)}")
        return chosen & x.mask

    def _with_defaults(self, settings: LossSettings) -> LossSettings:
        return replace(settings, options={**self.defaults, **settings.options}) if self.defaults else settings

    def compute(self, x: LossInput) -> LossOutput:
        """The function's loss averaged, plus kl_coef times the KL, minus entropy_coef times the entropy.

        Rows of another author get the loss of `off_policy.blend`. Weights multiply the function's loss only, and
        what a weight of 0 rejects still counts in the denominators. Raises ContractError when an input is missing or
        the function returns another type or shape.
        """
        if self.choice is not None and x.chosen is None:
            raise ContractError(f"loss {self.name!r} needs its choice among the tokens of the update: not supplied")
        x = replace(_without_padding(x), settings=self._with_defaults(x.settings))
        y = self.function(x)
        if not isinstance(y, TokenLoss):
            raise ContractError(f"loss {self.name!r} returned {type(y).__name__}, not a TokenLoss")
        if y.values.shape != x.mask.shape:
            shapes = f"{tuple(y.values.shape)}, expected {tuple(x.mask.shape)} [rows, tokens]"
            raise ContractError(f"loss {self.name!r} returned values of shape {shapes}")
        y = blend(x, y)
        values = y.values if x.weights is None else y.values * x.weights
        if x.settings.sequence_mask_delta is not None:
            values = values * worth_learning(x, x.settings.sequence_mask_delta)
        terms = [_Term("pg_loss", 1.0, values, y.average or x.settings.average), *_kl_terms(x), *_entropy_terms(x)]
        divergence = token_means(x.mask, ppo_kl=x.old_logprobs - x.logprobs.detach())
        metrics = {**divergence, **y.metrics, **_means(terms, x)}
        return LossOutput(loss=_sum(terms, x), metrics={f"actor/{name}": value for name, value in metrics.items()})


def _without_padding(x: LossInput) -> LossInput:
    streams = ("logprobs", "old_logprobs", "advantages", "ref_logprobs", "rollout_logprobs", "entropy", "weights")
    given = {name: getattr(x, name) for name in streams}
    kept: dict[str, Any] = {name: zero_outside(t, x.mask) for name, t in given.items() if t is not None}
    return replace(x, **kept)


def worth_learning(x: LossInput, delta: float) -> Tensor:
    """[B, R] bool: not of a response whose log-probs fell by more than `delta` on average, where the advantage is
    negative (arXiv 2512.02556): it is unlikely by now, and no lesson."""
    has_fallen = row_means(x.old_logprobs - x.logprobs.detach(), x.mask) > delta
    return ~(has_fallen.unsqueeze(-1) & (x.advantages < 0))


def option(x: LossInput | ChoiceInput, name: str) -> float:
    """A number of one loss. Raises ConfigError when it is not set."""
    return _number(x.settings.options, name)


def _number(options: Mapping[str, Option], name: str) -> float:
    if name not in options:
        raise ConfigError(f"this loss needs worker.actor.loss_options.{name}: it is not set")
    value = options[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"worker.actor.loss_options.{name}={value}: must be a finite number")
    return float(value)


def _kl_terms(x: LossInput) -> list[_Term]:
    if not x.settings.use_kl_loss:
        return []
    if x.ref_logprobs is None:
        raise ContractError("use_kl_loss needs the log-probs of a reference policy: not supplied")
    kl = estimate_kl(x.logprobs, x.ref_logprobs, x.settings.kl_kind)
    if x.settings.kl_bias_correction:
        kl = kl * log_ratios(x).exp()
    return [_Term("kl_loss", x.settings.kl_coef, kl, x.settings.average)]


def _entropy_terms(x: LossInput) -> list[_Term]:
    """The entropy where it is known, and always its estimate from the sampled tokens, which is only logged."""
    average = x.settings.average
    estimate = _Term("entropy_loss", 0.0, -x.logprobs, average)
    if x.entropy is not None:
        return [estimate, _Term("entropy", -x.settings.entropy_coef, x.entropy, average)]
    if x.settings.entropy_coef:
        raise ContractError("entropy_coef needs the entropy of every token: not supplied")
    return [estimate]


def _sum(terms: list[_Term], x: LossInput) -> Tensor:
    shares = [t.coef * aggregate(t.values, x.mask, t.average, x.denominators) for t in terms if t.coef]
    return torch.stack(shares).sum()


def _means(terms: list[_Term], x: LossInput) -> dict[str, MetricSum]:
    """Every term before its coefficient, as the loss averages it."""
    totals = torch.stack([total(term.values.detach(), x.mask, term.average) for term in terms]).tolist()
    counts = replace(Denominators.of(x.mask), response_length=x.denominators.response_length)
    metrics: dict[str, MetricSum] = {
        term.name: (number, counts.count(term.average)) for term, number in zip(terms, totals, strict=True)
    }
    return {**metrics, "kl_coef": (x.settings.kl_coef, 1.0)} if x.settings.use_kl_loss else metrics


LOSSES: Registry[PolicyLoss] = Registry("policy loss", "verl.algorithms.losses")


def loss(
    *names: str,
    options: tuple[str, ...] = (),
    defaults: Mapping[str, float] | None = None,
    choice: ChoiceFunction | None = None,
) -> Callable[[LossFunction], PolicyLoss]:
    """Decorator that makes a function a policy loss, filed under `names`. A user's file needs no name.

    A run without one of the numbers `options` in worker.actor.loss_options does not start; those of `defaults` may be
    left out there. `choice` is made once for all rows of an optimiser step, and the function finds it in `chosen`.
    """

    def wrap(function: LossFunction) -> PolicyLoss:
        name = (*names, function.__name__)[0]
        return LOSSES.register(*names)(PolicyLoss(name, function, options, defaults or {}, choice))

    return wrap


def find_loss(name: str) -> PolicyLoss:
    """By registered name, or "file.py:function" with or without the decorator. Raises ConfigError."""
    found: object = LOSSES.resolve(name)
    if isinstance(found, PolicyLoss):
        return found
    if not callable(found):
        raise ConfigError(f"{name!r} is a {type(found).__name__}; a function is needed")
    return PolicyLoss(name, found)
