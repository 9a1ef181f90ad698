# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Gated delta nets over packed rows, against a recurrence in float64 and against transformers' layer."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5GatedDeltaNet

from verl.errors import ConfigError
from verl.models import delta_net
from verl.models.delta_net import CHUNK, Stage, Streams, flow_of, recur, respect_segments, run_padded, run_varlen
from verl.models.segments import Segments, group_segments, plain_segments

CPU = torch.device("cpu")
HEADS, KEY, VALUE = 2, 8, 6
WIDTH = 16
# prompts shorter than a convolution's reach, of a whole chunk, and longer; responses of one token and of several chunks
GROUPS = ((2, (1, 5)), (CHUNK, (3, CHUNK + 1, 2)), (1, (1,)), (70, (9,)))
ROWS = {
    "shared": group_segments(GROUPS),
    "plain": plain_segments([prompt + response for prompt, responses in GROUPS for response in responses]),
    "single tokens": plain_segments([1, 1, 1]),
}


def lineages(segments: Segments) -> list[list[int]]:
    """For every segment the tokens that it follows, and its own."""
    found, start = [], 0
    for length, prefix in zip(segments.q_lens, segments.prefixes, strict=True):
        before = list(range(prefix[0], sum(prefix))) if prefix else []
        found.append(before + list(range(start, start + length)))
        start += length
    return found


def random_streams(num_tokens: int, seed: int = 0) -> Streams:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(num_tokens, HEADS, *shape, generator=generator, dtype=torch.float64)

    return Streams(query=draw(KEY), key=draw(KEY), value=draw(VALUE), decay=-0.1 * draw().abs(), beta=draw().sigmoid())


def naive(streams: Streams, segments: Segments) -> Tensor:
    """Token by token, every segment from the beginning of its lineage."""
    queries, keys = (x * (x.square().sum(-1, keepdim=True) + 1e-6).rsqrt() for x in (streams.query, streams.key))
    rows: dict[int, Tensor] = {}
    for lineage in lineages(segments):
        state = torch.zeros(HEADS, KEY, VALUE, dtype=torch.float64)
        for token in lineage:
            state = state * streams.decay[token].exp()[:, None, None]
            error = streams.value[token] - torch.einsum("hkv,hk->hv", state, keys[token])
            written = streams.beta[token][:, None] * error
            state = state + torch.einsum("hk,hv->hkv", keys[token], written)
            rows[token] = torch.einsum("hkv,hk->hv", state, queries[token]) * KEY**-0.5
    return torch.stack([rows[token] for token in range(segments.num_tokens)])


@dataclass
class Kernel:
    """What flash-linear-attention documents of its kernel: sequences of one row, states in and out by sequence."""

    calls: int = 0

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, **given: Any) -> tuple[Tensor, Tensor | None]:
        self.calls += 1
        assert query.shape[0] == 1 and given["use_qk_l2norm_in_kernel"]
        borders = given["cu_seqlens"].tolist()
        assert borders[0] == 0 and borders[-1] == query.shape[1]
        outputs, ends = [], []
        for number, (start, end) in enumerate(itertools.pairwise(borders)):
            output, state = delta_net._CHUNKED(
                query[:, start:end],
                key[:, start:end],
                value[:, start:end],
                g=given["g"][:, start:end],
                beta=given["beta"][:, start:end],
                initial_state=None if given["initial_state"] is None else given["initial_state"][number, None],
                output_final_state=True,
                use_qk_l2norm_in_kernel=True,
            )
            outputs.append(output)
            ends.append(state)
        return torch.cat(outputs, 1), torch.cat(ends) if given["output_final_state"] else None


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    for name in ("fla", "fla.ops", "fla.ops.gated_delta_rule"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(chunk_gated_delta_rule=made))
    return made


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("run", [run_padded, run_varlen])
def test_the_recurrence_and_its_gradients_are_those_of_sequences_alone(row: str, run: Any, kernel: Kernel) -> None:
    segments = ROWS[row]
    exact = Streams(*(x.requires_grad_() for x in random_streams(segments.num_tokens)))
    weights = random_streams(segments.num_tokens, seed=1).value
    expected = naive(exact, segments)
    (expected * weights).sum().backward()
    ours = Streams(*(x.detach().float().requires_grad_() for x in exact))
    found = recur(ours, flow_of(segments, 3, CPU), run)
    (found * weights.float()).sum().backward()
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)
    for name, mine, theirs in zip(Streams._fields, ours, exact, strict=True):
        largest = float(theirs.grad.abs().max())
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=0, atol=1e-6 * max(largest, 1.0), msg=name)
    assert kernel.calls == (run is run_varlen) * (1 + (row == "shared"))


def test_segments_of_equally_many_chunks_share_a_call() -> None:
    spans = [(0, 5), (5, CHUNK), (69, CHUNK + 1), (134, 2)]
    stage = Stage.of(spans, 136, CPU)
    assert [(members.tolist(), index.shape[1]) for members, index in stage.batches] == [
        ([0, 1, 3], CHUNK),
        ([2], 2 * CHUNK),
    ]
    assert stage.borders.tolist() == [0, 5, 69, 134, 136]


def test_each_segment_stands_behind_what_its_convolution_sees() -> None:
    flow = flow_of(group_segments([(2, (1, 2)), (4, (1,))]), 3, CPU)
    nothing = 10
    assert flow.halo.tolist() == [
        *(nothing, nothing, nothing, 0, 1),
        *(nothing, 0, 1, 2),
        *(nothing, 0, 1, 3, 4),
        *(nothing, nothing, nothing, 5, 6, 7, 8),
        *(6, 7, 8, 9),
    ]
    assert flow.halo[flow.inside].tolist() == list(range(10))
    assert flow.parents.tolist() == [0, 0, 1]


@pytest.fixture
def net() -> Qwen3_5GatedDeltaNet:
    config = Qwen3_5TextConfig(
        hidden_size=WIDTH,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
        linear_num_key_heads=1,
        linear_num_value_heads=2,
        linear_key_head_dim=KEY,
        linear_value_head_dim=VALUE,
    )
    torch.manual_seed(0)
    net = Qwen3_5GatedDeltaNet(config, 0)
    with torch.no_grad():
        net.A_log.copy_(torch.tensor([0.05, 0.2]).log())
    return net


@pytest.mark.parametrize("row", ROWS)
def test_the_layer_and_its_gradients_are_those_of_sequences_alone(net: Qwen3_5GatedDeltaNet, row: str) -> None:
    """transformers' forward, convolution and gates included, on every lineage alone."""
    segments = ROWS[row]
    generator = torch.Generator().manual_seed(2)
    states, weights = (torch.randn(1, segments.num_tokens, WIDTH, generator=generator) for _ in range(2))
    gradients = []
    outputs = []
    for packed in (False, True):
        net.zero_grad()
        inputs = states.clone().requires_grad_()
        if packed:
            respect_segments(net)
            output = net(inputs, segments=segments)
        else:
            whole: dict[int, Tensor] = {}
            for lineage in lineages(segments):
                alone = net(inputs[:, lineage])[0]
                whole.update(zip(lineage, alone, strict=True))
            output = torch.stack([whole[token] for token in range(segments.num_tokens)])[None]
        (output * weights).sum().backward()
        outputs.append(output.detach())
        gradients.append({"inputs": inputs.grad, **{name: p.grad.clone() for name, p in net.named_parameters()}})
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-6)
    for name, theirs in gradients[0].items():
        scale = max(float(theirs.abs().max()), 1.0)
        torch.testing.assert_close(gradients[1][name], theirs, rtol=0, atol=2e-6 * scale, msg=name)


def test_a_layer_without_segments_or_with_a_mask_is_refused(net: Qwen3_5GatedDeltaNet) -> None:
    respect_segments(net)
    states = torch.zeros(1, 3, WIDTH)
    with pytest.raises(ConfigError, match="need segments="):
        net(states)
    with pytest.raises(ConfigError, match="neither caches nor masks"):
        net(states, attention_mask=torch.ones(1, 3), segments=plain_segments([3]))
