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
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from verl.algorithms.grouped import GroupStats, Singleton, group_stats
from verl.algorithms.masked import whiten, zero_outside

MetricSum: TypeAlias = tuple[float, float]  # (total, weight): the metric is total / weight once all are added up
KlKind: TypeAlias = str  # a name that `kl.estimate_kl` knows
Average: TypeAlias = Literal["token", "seq", "seq_sum", "seq_norm", "sum"]
OffPolicyLoss: TypeAlias = Literal["on_policy", "importance", "luffy"]
Shaping: TypeAlias = Literal["fraction", "none", "sqrt", "power", "logp", "p_logp"]
Whitening: TypeAlias = Literal["sample", "token"]
Option: TypeAlias = str | int | float | bool
Memory: TypeAlias = Mapping[str, Any]  # JSON values


class Needs(Flag):
    """What an advantage asks the trainer to supply. Nobody asks for its name."""

    NONE = 0
    GROUP = auto()  # several responses per prompt
    CRITIC = auto()  # `values`
    GREEDY_BASELINE = auto()  # `baselines`: the score of the greedy response to the same prompt
    COMPONENTS = auto()  # `parts`: the named parts of every score
    TASK = auto()  # `tasks`: the kind of problem that every row answers
    SUM_PI_SQUARED = auto()  # `sum_pi_squared`, by a log-prob pass that takes a little longer; and `old_logprobs`


@dataclass(frozen=True, slots=True, kw_only=True)
class Conventions:
    """Where implementations of one formula differ."""

    singleton: Singleton = "zero"
    eps: float = 1e-6  # added to a std
    ddof: int = 1  # degrees of freedom that a std over siblings takes off
    whitens: bool = True  # False: gae and reinforce_plus_plus leave their advantages as they are
    whiten_eps: float = 1e-8  # added to a variance over tokens
    whiten_ddof: int = 1  # taken off by a variance over the batch
    weight_eps: float = 0.0  # added to the sum of the weights of an optimal_token_baseline


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmSettings:
    """The numbers an advantage may use."""

    gamma: float = 1.0
    lam: float = 1.0
    norm_by_std: bool | None = None  # whether siblings are measured in stds; None: as the estimator's paper does
    components: tuple[str, ...] = ("accuracy", "format")
    weights: tuple[float, ...] = ()  # of the components; without any, all are 1
    whitening: Whitening = "sample"  # of gdpo, over responses or over tokens
    ema_decay: float = 0.99  # share that a step leaves of what was remembered
    conventions: Conventions = Conventions()
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
    tasks: tuple[str, ...] | None = None  # B of them
    off_policy: Bool[Tensor, " B"] | None = None  # rows the policy did not write itself
    old_logprobs: Float[Tensor, "B R"] | None = None  # of the policy at the start of the step, by the trainer
    sum_pi_squared: Float[Tensor, "B R"] | None = None  # of all tokens that could have been drawn in the place of each
    importance_weights: Float[Tensor, "B R"] | None = None  # of `correction`, before rejections; None: nothing weighs
    memory: Memory = field(default_factory=dict)  # what the last step's output had; empty at the first
    settings: AlgorithmSettings = AlgorithmSettings()

    @property
    def scores(self) -> Float[Tensor, " B"]:
        """One number per row: its rewards summed over the mask. float64."""
        return zero_outside(self.rewards, self.mask).sum(-1, dtype=torch.float64)

    def siblings(self, values: Float[Tensor, " B"]) -> GroupStats:
        """Statistics of `values` over the responses to one prompt, by the conventions in force."""
        conventions = self.settings.conventions
        return group_stats(values, self.group, ddof=conventions.ddof, singleton=conventions.singleton)

    def relative(self, values: Float[Tensor, " B"], *, by_std: bool) -> Float[Tensor, " B"]:
        """`values` less the mean of their siblings; over (std + eps) if `by_std`, unless the settings decide."""
        stats = self.siblings(values)
        above = values.double() - stats.mean
        divides = by_std if self.settings.norm_by_std is None else self.settings.norm_by_std
        return above / (stats.std + self.settings.conventions.eps) if divides else above

    def whitened(self, values: Float[Tensor, "B R"]) -> Float[Tensor, "B R"]:
        """`values` with mean 0 and variance 1 over all tokens of the step, by the conventions in force."""
        conventions = self.settings.conventions
        if not conventions.whitens:
            return values
        return whiten(values, self.mask, ddof=conventions.whiten_ddof, eps=conventions.whiten_eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvantageOutput:
    """Advantages and the targets of a critic. Values outside the mask are ignored."""

    advantages: Float[Tensor, "B R"]
    returns: Float[Tensor, "B R"]
    metrics: Mapping[str, MetricSum] = field(default_factory=dict)  # full names
    memory: Memory = field(default_factory=dict)  # given back at the next step, also after a resume

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
    response_length: float = 1.0  # what "seq_norm" divides every row's sum by, a constant of the run

    @classmethod
    def of(cls, mask: Bool[Tensor, "B R"]) -> Denominators:
        """The counts of one mask."""
        return cls(num_tokens=float(mask.sum()), num_sequences=float(mask.any(-1).sum()))

    def __add__(self, other: Denominators) -> Denominators:
        return Denominators(
            num_tokens=self.num_tokens + other.num_tokens,
            num_sequences=self.num_sequences + other.num_sequences,
            response_length=self.response_length,
        )

    def count(self, average: Average) -> float:
        """What `average` divides by."""
        if average == "token":
            return self.num_tokens
        if average == "sum":
            return 1.0
        return self.num_sequences * (self.response_length if average == "seq_norm" else 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffPolicySettings:
    """What the loss does with rows that the policy did not write. Numbers as in arXiv 2504.14945."""

    loss: OffPolicyLoss = "on_policy"
    shaping: Shaping = "fraction"  # of the probability, for "luffy"
    gamma: float = 0.1  # of "fraction"; the exponent of "power"; the weight of "logp" and "p_logp"
    max_ratio: float | None = None  # ratios and shaped probabilities above are cut off; None: none is


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """The numbers a policy loss may use. The ratio is clipped to [1 - clip_low, 1 + clip_high]."""

    clip_low: float | None = None  # None: what the loss is defined with
    clip_high: float = 0.3
    clip_dual: float = 3.0
    tau_positive: float = 1.0
    tau_negative: float = 1.05
    average: Average = "token"
    response_length: float = 1.0  # see Denominators
    use_kl_loss: bool = False
    kl_kind: KlKind = "low_var_kl"
    kl_coef: float = 0.0
    kl_bias_correction: bool = False  # the KL in the loss times the ratio (arXiv 2512.02556)
    entropy_coef: float = 0.0
    sequence_mask_delta: float | None = None  # see policy_loss.worth_learning
    off_policy: OffPolicySettings = OffPolicySettings()
    options: Mapping[str, Option] = field(default_factory=dict)  # by name, for losses with numbers of their own


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
    weights: Float[Tensor, "B R"] | None = None  # of `correction.correct`; what the loss of each token is multiplied by
    chosen: Bool[Tensor, "B R"] | None = None  # tokens that the loss's own choice took, of those of the whole update
    settings: LossSettings = LossSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceInput:
    """All rows of an optimiser step, before it: what a loss chooses tokens from, whoever holds them. No gradient."""

    logprobs: Float[Tensor, "B R"]  # of the policy at the start of the training step
    advantages: Float[Tensor, "B R"]
    lots: Float[Tensor, "B R"]  # a random number in [0, 1) for every token, its own wherever its row stands
    mask: Bool[Tensor, "B R"]
    settings: LossSettings = LossSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLoss:
    """What a formula returns: a loss per token, still to be averaged. Metrics get the prefix "actor/"."""

    values: Float[Tensor, "B R"]
    metrics: Mapping[str, MetricSum] = field(default_factory=dict)
    average: Average | None = None  # of formulas that are defined with one; None: as set


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOutput:
    """A micro-batch's share of the loss of the optimiser step."""

    loss: Float[Tensor, ""]
    metrics: Mapping[str, MetricSum]  # full names
