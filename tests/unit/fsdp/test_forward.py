# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from verl.fsdp import forward
from verl.fsdp.forward import token_logprobs
from verl.fsdp.sampling import Sampling

TOKENS, WIDTH, VOCABULARY = 50, 8, 30


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation returned."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(TOKENS, WIDTH, requires_grad=True)
    head = torch.randn(VOCABULARY, WIDTH, requires_grad=True)
    return hidden, head, torch.randint(VOCABULARY, (TOKENS,))


def naive(hidden: Any, head: Any, targets: Any, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """In float64, with all logits at once."""
    table = torch.log_softmax(hidden.double() @ head.double().T / temperature, -1)
    return table[torch.arange(len(targets)), targets], -(table.exp() * table).sum(-1)


@pytest.mark.parametrize("chunk", [1, 7, TOKENS, 1000])
def test_logprobs_entropy_and_gradients_are_the_naive_ones(
    inputs: Any, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "MAX_LOGITS", chunk * VOCABULARY)
    hidden, head, _ = inputs
    weights = torch.linspace(-1, 1, TOKENS)

    def gradients(pair: Any) -> list[torch.Tensor]:
        loss = (pair[0] * weights).sum() + (pair[1] * weights**2).sum()
        return list(torch.autograd.grad(loss, [hidden, head]))

    found = token_logprobs(*inputs, Sampling(temperature=0.7), also="entropy")
    expected = naive(*inputs, 0.7)
    assert found[0].dtype is torch.float32
    for left, right in zip([*found, *gradients(found)], [*expected, *gradients(expected)], strict=True):
        torch.testing.assert_close(left.double(), right.double(), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("chunk", [7, 1000])
def test_the_sum_of_squared_probabilities_is_the_naive_one(
    inputs: Any, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "MAX_LOGITS", chunk * VOCABULARY)
    hidden, head, targets = inputs
    with torch.no_grad():
        logprobs, found = token_logprobs(hidden * 5, head, targets, Sampling(temperature=0.7), also="sum_pi_squared")
        plain, nothing = token_logprobs(hidden * 5, head, targets, Sampling(temperature=0.7))
        expected = torch.softmax((5 * hidden).double() @ head.double().T / 0.7, -1).square().sum(-1)
    assert found is not None and found.dtype is torch.float32
    assert 0.1 < float(expected.min()) < 0.9 < float(expected.max())
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=1e-5)
    assert torch.equal(logprobs, plain) and nothing is None


def test_logits_of_all_tokens_never_exist(inputs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "MAX_LOGITS", 10 * VOCABULARY)
    with Largest() as seen:
        logprobs, _ = token_logprobs(*inputs, Sampling())
        logprobs.sum().backward()
    assert 10 * VOCABULARY <= seen.numel < TOKENS * VOCABULARY / 2


def test_half_precision_states_give_float32_logprobs(inputs: Any) -> None:
    hidden, head, targets = inputs
    found, none = token_logprobs(hidden.bfloat16(), head.bfloat16(), targets, Sampling())
    assert found.dtype is torch.float32 and none is None
    expected, _ = naive(hidden.bfloat16(), head.bfloat16(), targets, 1.0)
    torch.testing.assert_close(found.double(), expected, atol=0.1, rtol=0)
