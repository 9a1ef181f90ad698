# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The trainer's log-probs are those of the distribution that the engine samples from."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from verl.fsdp.forward import Also, token_logprobs
from verl.fsdp.sampling import Sampling

WIDTH, VOCABULARY = 4, 12
SQUARES: Also = "sum_pi_squared"


def drawn_from(logits: list[float], how: Sampling) -> dict[int, float]:
    """Probability of every token that can be drawn: the most likely ones until they hold top_p, of the top_k."""
    weights = [math.exp(x / how.temperature) for x in logits]
    ranked = sorted(range(len(logits)), key=lambda i: -logits[i])
    ranked = ranked[: how.top_k] if how.top_k > 0 else ranked
    mass = sum(weights[i] for i in ranked)
    kept: list[int] = []
    for i in ranked:
        if sum(weights[j] for j in kept) >= how.top_p * mass:
            break
        kept.append(i)
    total = sum(weights[i] for i in kept)
    return {i: weights[i] / total for i in kept}


samplings = st.builds(
    Sampling,
    temperature=st.floats(0.3, 2.0),
    top_p=st.sampled_from([0.05, 0.5, 0.77, 0.95, 1.0]),
    top_k=st.sampled_from([-1, 1, 3, 7, 100]),
)


@given(samplings, st.integers(0, 10_000))
def test_logprobs_entropy_and_gradient_are_those_of_the_truncated_distribution(how: Sampling, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    hidden = torch.randn(3, WIDTH, generator=random).requires_grad_()
    head = torch.randn(VOCABULARY, WIDTH, generator=random)
    logits = (hidden.detach() @ head.t()).double()
    tables = [drawn_from(row.tolist(), how) for row in logits]
    targets = [list(table)[seed % len(table)] for table in tables]
    found, entropy = token_logprobs(hidden, head, torch.tensor(targets), how, also="entropy")
    assert entropy is not None
    for row, (table, target) in enumerate(zip(tables, targets, strict=True)):
        assert found[row].item() == pytest.approx(math.log(table[target]), abs=2e-5)
        assert entropy[row].item() == pytest.approx(-sum(p * math.log(p) for p in table.values()), abs=5e-5)
        (grad,) = torch.autograd.grad(found[row], hidden, retain_graph=True)
        mean = sum(p * head[token] for token, p in table.items())
        torch.testing.assert_close(grad[row], (head[target] - mean) / how.temperature, atol=1e-4, rtol=1e-3)
    (slope,) = torch.autograd.grad(entropy.sum(), hidden)
    assert slope.isfinite().all()


@given(samplings, st.integers(0, 1000))
def test_the_sum_of_squared_probabilities_is_that_of_the_truncated_distribution(how: Sampling, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    hidden, head = (torch.randn(size, WIDTH, generator=random) for size in (3, VOCABULARY))
    tables = [drawn_from(row.tolist(), how) for row in (hidden @ head.t()).double()]
    _, found = token_logprobs(hidden, head, torch.tensor([next(iter(table)) for table in tables]), how, also=SQUARES)
    assert found is not None
    assert found.tolist() == pytest.approx([sum(p * p for p in table.values()) for table in tables], rel=2e-5)


@given(samplings, st.integers(0, 1000))
def test_a_sampled_token_is_never_impossible(how: Sampling, seed: int) -> None:
    """Rounding may put a token outside here that was inside there."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, VOCABULARY, generator=random)
    worst = logits.argmin(-1)
    shaped = how.shape(logits, worst)
    assert shaped.gather(-1, worst[:, None]).isfinite().all()
    probabilities = shaped.softmax(-1)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(5))


def test_the_whole_vocabulary_leaves_logits_as_they_are() -> None:
    logits = torch.randn(2, VOCABULARY)
    sampled = torch.zeros(2, dtype=torch.int64)
    torch.testing.assert_close(Sampling(temperature=2.0).shape(logits, sampled), logits / 2, rtol=0, atol=0)
    assert Sampling(top_k=VOCABULARY).shape(logits, sampled).isfinite().all()
    assert not Sampling(top_p=0.9).keeps_all and not Sampling(top_k=3).keeps_all
