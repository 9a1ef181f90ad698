# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Segment attention against a float64 twin that spells out every pair of tokens."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from verl.errors import ConfigError
from verl.models import segments as seg

Groups = Sequence[tuple[int, Sequence[int]]]

LENGTHS = st.integers(1, 7)
GROUPS = st.lists(st.tuples(LENGTHS, st.lists(LENGTHS, max_size=4)), min_size=1, max_size=4)


def twin_mask(groups: Groups) -> Tensor:
    """[N, N] bool: may query i see key j? Same group, not later, of the prompt or of the same response."""
    owners = [
        (group, part)
        for group, (prompt_len, response_lens) in enumerate(groups)
        for part, length in enumerate([prompt_len, *response_lens])
        for _ in range(length)
    ]
    return torch.tensor(
        [[j <= i and a[0] == b[0] and b[1] in (0, a[1]) for j, b in enumerate(owners)] for i, a in enumerate(owners)]
    )


def twin(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Softmax attention written out: [1, heads, N, D] -> [1, N, heads, D]."""
    times = query.shape[1] // key.shape[1]
    key = torch.stack([key[:, head // times] for head in range(query.shape[1])], 1)
    value = torch.stack([value[:, head // times] for head in range(query.shape[1])], 1)
    scores = torch.einsum("bhid,bhjd->bhij", query, key) / query.shape[-1] ** 0.5
    weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
    return torch.einsum("bhij,bhjd->bihd", weights, value)


def tensors(num_tokens: int, heads: int, kv_heads: int, dim: int = 8, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(1, count, num_tokens, dim, generator=generator, dtype=torch.float64)
        for count in (heads, kv_heads, kv_heads)
    ]


def run(inputs: Sequence[Tensor], segments: seg.Segments) -> Tensor:
    out, weights = seg.attention(nn.Module(), *inputs, None, segments=segments, scaling=None, dropout=0.0)
    assert weights is None
    return out


def size(groups: Groups) -> int:
    return sum(prompt + sum(responses) for prompt, responses in groups)


@settings(max_examples=40, deadline=None)
@given(groups=GROUPS, heads=st.sampled_from([(4, 4), (4, 2), (4, 1)]))
def test_shared_prompts_match_the_twin_forward_and_backward(groups: Groups, heads: tuple[int, int]) -> None:
    inputs = [x.requires_grad_() for x in tensors(size(groups), *heads)]
    expected = twin(*inputs, twin_mask(groups))
    found = run(inputs, seg.group_segments(groups))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    weight = torch.randn(found.shape, dtype=found.dtype, generator=torch.Generator().manual_seed(1))
    grads = [torch.autograd.grad((out * weight).sum(), inputs) for out in (found, expected)]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(lens=st.lists(LENGTHS, min_size=1, max_size=5))
def test_plain_packing_is_one_causal_block_per_sequence(lens: list[int]) -> None:
    inputs = tensors(sum(lens), 4, 2)
    expected = twin(*inputs, twin_mask([(length, []) for length in lens]))
    torch.testing.assert_close(run(inputs, seg.plain_segments(lens)), expected, rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(prompt_len=LENGTHS, response_lens=st.lists(LENGTHS, min_size=1, max_size=4))
def test_a_shared_prompt_gives_what_a_prompt_per_response_gives(prompt_len: int, response_lens: list[int]) -> None:
    shared = tensors(prompt_len + sum(response_lens), 4, 2)
    together = run(shared, seg.group_segments([(prompt_len, response_lens)]))
    start = prompt_len
    for length in response_lens:
        index = torch.tensor([*range(prompt_len), *range(start, start + length)])
        alone = run([x[:, :, index] for x in shared], seg.plain_segments([prompt_len + length]))
        torch.testing.assert_close(together[:, index], alone, rtol=0, atol=1e-12)
        start += length


def test_the_order_of_groups_does_not_matter() -> None:
    groups: Groups = [(3, [2, 5]), (6, [1]), (1, [4, 4, 2])]
    starts = [0, *itertools.accumulate(size([group]) for group in groups)]
    inputs = tensors(starts[-1], 4, 2)
    straight = run(inputs, seg.group_segments(groups))
    order = [2, 0, 1]
    index = torch.cat([torch.arange(starts[i], starts[i + 1]) for i in order])
    moved = run([x[:, :, index] for x in inputs], seg.group_segments([groups[i] for i in order]))
    torch.testing.assert_close(moved, straight[:, index], rtol=0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(groups=GROUPS)
def test_the_index_for_varlen_kernels_says_the_same_as_the_mask(groups: Groups) -> None:
    """The kernel sees `keys[k_index]` cut by `cu_k`, causal and aligned to the last key of every segment."""
    segments = seg.group_segments(groups)
    assert segments.k_index is not None
    seen = torch.zeros(size(groups), size(groups), dtype=torch.bool)
    spans = zip(itertools.pairwise(segments.cu_q.tolist()), itertools.pairwise(segments.cu_k.tolist()), strict=True)
    for (q0, q1), (k0, k1) in spans:
        keys = segments.k_index[k0:k1]
        for offset in range(q1 - q0):
            seen[q0 + offset, keys[: len(keys) - (q1 - q0) + offset + 1]] = True
    assert torch.equal(seen, twin_mask(groups))
    assert segments.cu_q.dtype == segments.cu_k.dtype == torch.int32
    assert segments.num_tokens == size(groups)


def test_plain_segments_use_the_rows_own_keys() -> None:
    segments = seg.plain_segments([2, 3])
    assert segments.k_index is None
    assert segments.cu_k.tolist() == [0, 2, 5]
    assert segments.to("cpu").q_lens == (2, 3)


def test_what_segments_cannot_express_is_refused() -> None:
    inputs = tensors(3, 4, 2)
    segments = seg.plain_segments([3])
    for bad in ({"dropout": 0.1}, {"sliding_window": 2}, {"segments": None}):
        with pytest.raises(ConfigError):
            seg.attention(nn.Module(), *inputs, None, **{"segments": segments, **bad})
    with pytest.raises(ConfigError):
        seg.attention(nn.Module(), *inputs, torch.ones(3, 3), segments=segments)
    with pytest.raises(ValueError, match="5 tokens"):
        seg.attention(nn.Module(), *inputs, None, segments=seg.plain_segments([5]))
    with pytest.raises(ValueError, match="positive"):
        seg.group_segments([(3, [0])])


class OnCuda(Tensor):
    """A tensor that says so."""

    is_cuda = True


@pytest.mark.parametrize(("dtype", "kernels"), [(torch.bfloat16, 1), (torch.float16, 1), (torch.float32, 0)])
def test_what_flash_attention_cannot_compute_is_computed_all_the_same(
    dtype: torch.dtype, kernels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[torch.dtype] = []

    def varlen(query: Tensor, *_: object) -> Tensor:
        calls.append(query.dtype)
        return query.transpose(1, 2)

    monkeypatch.setattr(seg, "_varlen", varlen)
    inputs = [tensor.to(dtype).as_subclass(OnCuda) for tensor in tensors(5, 4, 2)]
    assert run(inputs, seg.plain_segments([2, 3])).shape == (1, 5, 4, 8)
    assert len(calls) == kernels
