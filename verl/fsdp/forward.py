# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Log-probabilities of response tokens, without ever holding logits for all of them."""

from __future__ import annotations

import math
from types import MethodType
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method
from torch.utils.checkpoint import checkpoint

from verl.fsdp.packing import MicroBatch
from verl.fsdp.sampling import Sampling
from verl.models.adapter import ModelAdapter

Also: TypeAlias = Literal["entropy", "sum_pi_squared"]  # of the distribution that a token was drawn from

_ENTRY = "policy_forward"
MAX_LOGITS = 1 << 26  # numbers in one chunk of logits: 256 MiB in float32


def add_policy_forward(model: nn.Module, adapter: ModelAdapter) -> None:
    """Give `model` the method that `response_logprobs` calls, so that sharded weights are gathered for it."""

    def policy_forward(
        self: Any, batch: MicroBatch, sampling: Sampling, also: Also | None
    ) -> tuple[Tensor, Tensor | None]:
        hidden = batch.own_states(adapter.hidden_states(self, batch.row))  # [T, D]
        logprobs, other = token_logprobs(hidden, adapter.head(self), batch.own_targets, sampling, also=also)
        return batch.whole(logprobs), None if other is None else batch.whole(other)

    setattr(model, _ENTRY, MethodType(policy_forward, model))
    if isinstance(model, FSDPModule):
        register_fsdp_forward_method(model, _ENTRY)


def response_logprobs(
    model: nn.Module, batch: MicroBatch, sampling: Sampling, *, also: Also | None = None
) -> tuple[Tensor, Tensor | None]:
    """Float32 log-probabilities [B, R] of the distribution sampled from, zero in the padding.

    Second what is `also` asked for [B, R]: its entropy at each response token, or the sum of the squares of all its
    probabilities. Both carry gradients.
    """
    logprobs, other = getattr(model, _ENTRY)(batch, sampling, also)
    return batch.pad(logprobs), None if other is None else batch.pad(other)


def token_logprobs(
    hidden: Tensor,  # [T, D]
    head: Tensor,  # [V, D]
    targets: Tensor,  # [T]
    sampling: Sampling,
    *,
    also: Also | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Float32 log-probabilities [T] of `targets` and, if asked for, one more number for each [T].

    Chunk by chunk, and recomputed in the backward pass: [T, V] logits never exist.
    """
    size = max(MAX_LOGITS // head.shape[0], 1)
    chunks = []
    for states, ids in zip(hidden.split(size), targets.split(size), strict=True):
        arguments = (states, head, ids, sampling, also)
        if torch.is_grad_enabled():
            chunks.append(checkpoint(_chunk, *arguments, use_reentrant=False))
        else:
            chunks.append(_chunk(*arguments))
    logprobs, others = zip(*chunks, strict=True)
    return torch.cat(logprobs), None if also is None else torch.cat(others)


def _chunk(
    states: Tensor, head: Tensor, targets: Tensor, sampling: Sampling, also: Also | None
) -> tuple[Tensor, Tensor | None]:
    logits = sampling.shape((states @ head.t()).float(), targets)
    normaliser = logits.logsumexp(-1)
    logprobs = logits.gather(-1, targets[:, None]).squeeze(-1) - normaliser
    if also is None:
        return logprobs, None
    if also == "sum_pi_squared":
        return logprobs, ((2 * logits).logsumexp(-1) - 2 * normaliser).exp()
    drawn = logits.masked_fill(logits == -math.inf, 0.0)  # whose probability is 0
    return logprobs, normaliser - (logits.softmax(-1) * drawn).sum(-1)
