# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens by the covariance of their log-prob and advantage, which is what lowers the entropy (arXiv 2505.22617).

T tokens of an update, row by row. A choice depends neither on the order of rows nor on padding, to the bit.
"""

from __future__ import annotations

import math

from jaxtyping import Bool, Float, Int
from torch import Tensor

from verl.algorithms.contract import ChoiceInput
from verl.algorithms.policy_loss import option
from verl.errors import ConfigError


def covariances(x: ChoiceInput) -> Float[Tensor, " T"]:
    """(A - mean A) (log p - mean log p) of every token, means over the update. float64."""
    return _centred(x.advantages[x.mask]) * _centred(x.logprobs[x.mask])


def take(x: ChoiceInput, order: Int[Tensor, " N"], name: str) -> Bool[Tensor, "B R"]:
    """The first of `order`, places among the T tokens: the share of T that option `name` is, rounded down, and one at
    least. Raises ConfigError unless that is a share."""
    ratio = option(x, name)
    if not 0 < ratio <= 1:
        raise ConfigError(f"worker.actor.loss_options.{name}={ratio}: is a share of all tokens, above 0 and at most 1")
    taken = x.mask.new_zeros(int(x.mask.sum()))
    taken[order[: max(int(ratio * len(taken)), 1)]] = True
    return x.mask.masked_scatter(x.mask, taken)


def _centred(values: Tensor) -> Tensor:
    values = values.double()
    return values - math.fsum(values.tolist()) / max(len(values), 1)  # exact, so that no order changes it
