# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Importance weights and rejection against their definitions, on ragged rows with nan outside."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.numerics import naive_losses
from tests.numerics.batches import Batch, batches
from verl.algorithms.correction import (
    Bounds,
    Correction,
    Rejection,
    accepted,
    log_rho,
    parse_bounds,
    parse_rejections,
    weights,
)
from verl.errors import ConfigError


def ragged(batch: Batch) -> tuple[list[list[float]], list[list[float]]]:
    streams = (batch.logprobs, batch.old_logprobs)
    ours, theirs = ([row[:n].tolist() for row, n in zip(t, batch.lengths, strict=True)] for t in streams)
    return ours, theirs


@given(batches(), st.sampled_from(["token", "sequence"]), st.booleans(), st.booleans(), st.floats(0.3, 0.9))
def test_weights_equal_their_definition(batch: Batch, level: str, cuts: bool, normalize: bool, low: float) -> None:
    bounds = Bounds(low=low if cuts else 0.0, high=1.5)
    how = Correction(level=level, bounds=bounds, cuts=cuts, normalize=normalize)  # type: ignore[arg-type]
    found = weights(log_rho(batch.logprobs, batch.old_logprobs, batch.mask), batch.mask, how)
    expected = naive_losses.correction_weights(*ragged(batch), level, (bounds.low, bounds.high, cuts), normalize)
    for row, length in enumerate(batch.lengths):
        assert found[row, :length].tolist() == pytest.approx(expected[row], rel=1e-9)
    assert found[~batch.mask].eq(1).all()


rules = st.builds(
    Rejection,
    reach=st.sampled_from(["token", "seq_sum", "seq_mean"]),
    kind=st.sampled_from(["k1", "k2", "k3"]),
    bounds=st.builds(Bounds, low=st.just(0.0), high=st.floats(0.05, 2.0)),
) | st.builds(
    Rejection,
    reach=st.just("seq_max"),
    kind=st.sampled_from(["k2", "k3"]),
    bounds=st.builds(Bounds, high=st.floats(0.05, 2.0)),
)


@given(batches(), st.lists(rules, max_size=3))
def test_a_token_counts_when_it_passes_every_rule(batch: Batch, chosen: list[Rejection]) -> None:
    gap = log_rho(batch.logprobs, batch.old_logprobs, batch.mask)
    found = accepted(gap, batch.mask, Correction(rejections=tuple(chosen)))
    for row, (ours, theirs) in enumerate(zip(*ragged(batch), strict=True)):
        for token in range(len(ours)):
            out = [
                naive_losses.rejected(ours, theirs, (r.reach, r.kind, r.bounds.low, r.bounds.high))[token]
                for r in chosen
            ]
            assert found[row, token].item() == (not any(out))
    assert not found[~batch.mask].any()


@given(batches())
def test_a_ratio_is_compared_itself_and_not_its_inverse(batch: Batch) -> None:
    """With [0.6, 3] a token twice as likely to the trainer counts, one half as likely does not."""
    twice = batch.old_logprobs + torch.tensor(2.0).log()
    how = Correction(rejections=parse_rejections("token_k1", "0.6_3.0"))
    mask = batch.mask
    assert accepted(log_rho(twice, batch.old_logprobs, mask), mask, how)[mask].all()
    assert not accepted(log_rho(batch.old_logprobs, twice, mask), mask, how).any()


def test_bounds_and_rules_are_read() -> None:
    assert parse_bounds("2.0") == (Bounds(high=2.0), False)
    assert parse_bounds("0.5_5") == (Bounds(low=0.5, high=5.0), True)
    one, other = parse_rejections("token_k1, seq_max_k3", "2, 0.1")
    assert one == Rejection(reach="token", kind="k1", bounds=Bounds(low=0.5, high=2.0))
    assert other == Rejection(reach="seq_max", kind="k3", bounds=Bounds(high=0.1))
    assert parse_rejections(None, None) == ()


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "5_0.5", "1_2_3", "inf", "nan"])
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no bound"):
        parse_bounds(text)


@pytest.mark.parametrize(
    ("names", "limits", "message"),
    [
        ("token_k4", "2", "unknown rejection 'token_k4'.*did you mean"),
        ("seq_max_k1", "2", "unknown rejection"),
        ("token_k1,token_k2", "2", "give one for each"),
        ("token_k2", "0.1_0.5", "upper bound only"),
        ("token_k1", "0.5", "must be 1 or more"),
    ],
)
def test_what_is_no_rule_is_refused(names: str, limits: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_rejections(names, limits)
