# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The loss of responses that the policy did not write: LUFFY's shaping and importance weights (arXiv 2504.14945)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from verl.algorithms.contract import LossInput, OffPolicySettings, TokenLoss
from verl.algorithms.masked import token_means
from verl.errors import ContractError

_SHAPES: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "fraction": lambda logprobs, gamma: logprobs.exp() / (logprobs.exp() + gamma),
    "none": lambda logprobs, _: logprobs.exp(),
    "sqrt": lambda logprobs, _: (0.5 * logprobs).exp(),
    "power": lambda logprobs, gamma: (gamma * logprobs).exp(),
    "logp": lambda logprobs, gamma: gamma * logprobs,
    "p_logp": lambda logprobs, gamma: logprobs.exp() + gamma * logprobs,
}


def blend(x: LossInput, on_policy: TokenLoss) -> TokenLoss:
    """`on_policy`'s values, and for rows of another author -A f, without a clip; as set in `settings.off_policy`.

    "on_policy": all rows as if the policy had written them. "luffy": f is the shaped probability, by default
    p / (p + gamma), the author's own taken for 1. "importance": f is the ratio to the author's probability, whose
    log-probs are `rollout_logprobs`. Raises ContractError when they are not known.
    """
    settings = x.settings.off_policy
    if settings.loss == "on_policy" or x.off_policy is None:
        return on_policy
    theirs = x.off_policy.unsqueeze(-1) & x.mask
    weight = _weight(x, settings, theirs)
    if settings.max_ratio is not None:
        weight = weight.clamp(max=settings.max_ratio)
    values = torch.where(theirs, -x.advantages * weight, on_policy.values)
    shown = token_means(theirs, off_pg_loss=values, off_pg_ratio=weight)
    shown |= token_means(x.mask & ~theirs, on_pg_loss=values)
    return TokenLoss(values=values, metrics={**on_policy.metrics, **shown}, average=on_policy.average)


def _weight(x: LossInput, settings: OffPolicySettings, theirs: Tensor) -> Tensor:
    if settings.loss == "luffy":
        return _SHAPES[settings.shaping](x.logprobs, settings.gamma)
    author = x.rollout_logprobs
    if author is None or not (author.isfinite() | ~theirs).all():
        raise ContractError(
            "worker.actor.off_policy_loss=importance needs the log-probs that the author of an offline response gave"
            " its tokens: a row has none; supply them or use luffy"
        )
    return (x.logprobs - torch.where(theirs, author, 0.0)).clamp(max=20.0).exp()
