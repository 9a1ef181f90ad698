# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What an advantage and a policy loss are given, and what they return.

Letters: B rows, R response positions; rows shorter than R are padded and `mask` is False there. A plug-in is
one function under `@advantage` or `@loss`, in this package or in a user's file. It writes the formula; what
all of them share (masking, checks, averaging, KL and entropy) is in `advantage.py` and `policy_loss.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from verl.algorithms.masked import zero_outside

MetricSum: TypeAlias = tuple[float, float]  # (total, weight): the metric is total / weight once all are added up
KlKind: TypeAlias = Literal["kl", "abs", "mse", "low_var_kl", "full"]
Average: TypeAlias = Literal["token", "seq"]
Option: TypeAlias = str | int | float | bool


class Needs(Flag):
    """What an advantage asks the trainer to supply. Nobody asks for its name."""

    NONE = 0
    GROUP = auto()  # several responses per prompt
    CRITIC = auto()  # `values`
    GREEDY_BASELINE = auto()  # `baselines`: the score of the greedy response to the same prompt
    COMPONENTS = auto()  # `parts`: the named parts of every score


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmSettings:
    """The numbers an advantage may use."""

    gamma: float = 1.0
    lam: float = 1.0
    components: tuple[str, ...] = ("accuracy", "format")
    options: Mapping[str, Option] = field(default_factory=dict)  # for plug-ins defined outside the package


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvantageInput:
    """All rows of a training step. `rewards` are the scores spread over the tokens, after any KL penalty."""

    rewards: Float[Tensor, "B R"]  # anything outside the mask: read `scores` for sums
    mask: Bool[Tensor, "B R"]
    group: Int[Tensor, " B"]  # siblings share a number
    values: Float[Tensor, "B R"] | None = None
    baselines: Float[Tensor, " B"] | None = None
    parts: Mapping[str, Float[Tensor, " B"]] = field(default_factory=dict)
    off_policy: Bool[Tensor, " B"] | None = None  # rows the policy did not write itself
    settings: AlgorithmSettings = AlgorithmSettings()

    @property
    def scores(self) -> Float[Tensor, " B"]:
        """One number per row: its rewards summed over the mask. float64."""
        return zero_outside(self.rewards, self.mask).sum(-1, dtype=torch.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvantageOutput:
    """Advantages and the targets of a critic. Values outside the mask are ignored."""

    advantages: Float[Tensor, "B R"]
    returns: Float[Tensor, "B R"]
    metrics: Mapping[str, MetricSum] = field(default_factory=dict)  # full names

    @classmethod
    def broadcast(cls, advantage: Float[Tensor, " B"], mask: Bool[Tensor, "B R"]) -> AdvantageOutput:
        """The same advantage for every token of a row."""
        rows = zero_outside(advantage.unsqueeze(-1).expand(mask.shape), mask)
        return cls(advantages=rows, returns=rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Denominators:
    """What a loss is divided by: counts over all ranks and micro-batches of one optimiser step.

    The losses of all micro-batches on all ranks then add up to the loss of the step, however it was split.
    """

    num_tokens: float  # True entries of the mask
    num_sequences: float  # rows with at least one of them

    @classmethod
    def of(cls, mask: Bool[Tensor, "B R"]) -> Denominators:
        """The counts of one mask."""
        return cls(num_tokens=float(mask.sum()), num_sequences=float(mask.any(-1).sum()))

    def __add__(self, other: Denominators) -> Denominators:
        return Denominators(
            num_tokens=self.num_tokens + other.num_tokens,
            num_sequences=self.num_sequences + other.num_sequences,
        )

    def count(self, average: Average) -> float:
        """What `average` counts: tokens or sequences."""
        return self.num_tokens if average == "token" else self.num_sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """The numbers a policy loss may use. The ratio is clipped to [1 - clip_low, 1 + clip_high]."""

    clip_low: float = 0.2
    clip_high: float = 0.3
    clip_dual: float = 3.0
    average: Average = "token"
    use_kl_loss: bool = False
    kl_kind: KlKind = "low_var_kl"
    kl_coef: float = 0.0
    entropy_coef: float = 0.0
    options: Mapping[str, Option] = field(default_factory=dict)  # for plug-ins defined outside the package


@dataclass(frozen=True, slots=True, kw_only=True)
class LossInput:
    """One micro-batch. Only `logprobs` and `entropy` carry a gradient."""

    logprobs: Float[Tensor, "B R"]
    old_logprobs: Float[Tensor, "B R"]  # of the policy at the start of the step, by the trainer
    advantages: Float[Tensor, "B R"]
    mask: Bool[Tensor, "B R"]
    denominators: Denominators
    ref_logprobs: Float[Tensor, "B R"] | None = None
    rollout_logprobs: Float[Tensor, "B R"] | None = None  # of the distribution sampled from, by the engine
    entropy: Float[Tensor, "B R"] | None = None
    off_policy: Bool[Tensor, " B"] | None = None  # rows the policy did not write itself
    settings: LossSettings = LossSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLoss:
    """What a formula returns: a loss per token, still to be averaged. Metrics get the prefix "actor/"."""

    values: Float[Tensor, "B R"]
    metrics: Mapping[str, MetricSum] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOutput:
    """A micro-batch's share of the loss of the optimiser step."""

    loss: Float[Tensor, ""]
    metrics: Mapping[str, MetricSum]  # full names
