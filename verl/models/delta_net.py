# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Gated delta nets (arXiv 2412.06464) over packed rows: nothing flows from one sequence into the next.

Such a layer carries a convolution's last inputs and a recurrent state along the row; transformers' own code knows no
borders. Here every segment starts from nothing, or, if it has a prefix, from where that prefix ended: a prompt is
computed once, its responses go on from its state, and gradients flow back through it.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MethodType
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers.models.qwen3_5 import modeling_qwen3_5 as dense
from transformers.models.qwen3_5_moe import modeling_qwen3_5_moe as sparse
from transformers.utils.import_utils import is_flash_linear_attention_available

from verl.errors import ConfigError
from verl.models.segments import Segments
from verl.models.ulysses import SequenceGroup, check_heads, swap_equally, to_tokens

NETS = (dense.Qwen3_5GatedDeltaNet, sparse.Qwen3_5MoeGatedDeltaNet)
CHUNK = 64  # tokens that transformers' code computes at once; shorter ones are padded

_CHUNKED = inspect.unwrap(dense.torch_chunk_gated_delta_rule)  # never the kernel that may stand before it

Span: TypeAlias = tuple[int, int]  # start in the row, length


class Streams(NamedTuple):
    """What the recurrence reads, token by token."""

    query: Tensor  # [N, heads, key_dim]
    key: Tensor  # [N, heads, key_dim]
    value: Tensor  # [N, heads, value_dim]
    decay: Tensor  # [N, heads] float32: logarithm of what is left of the state
    beta: Tensor  # [N, heads]: how far the state moves towards the token's value


class Inputs(NamedTuple):
    """What tokens bring to a layer, before any of them sees another: of all heads or of some."""

    mixed: Tensor  # [N, channels]: queries, keys and values, before the convolution
    decay: Tensor  # [N, heads] float32
    beta: Tensor  # [N, heads]
    weight: Tensor  # [channels, taps] of the convolution
    num_keys: int  # heads of queries and keys


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """S segments that do not wait for each other, n tokens in all."""

    order: Tensor  # [n] int64: the row's tokens, segment after segment
    borders: Tensor  # [S + 1] int64: where in `order` segments begin and end
    batches: tuple[tuple[Tensor, Tensor], ...]  # segments [b], their tokens [b, L]; L whole chunks, N where no token is

    @classmethod
    def of(cls, spans: Sequence[Span], num_tokens: int, device: torch.device) -> Stage:
        """Segments of equally many chunks go together: padding them costs nothing that chunks do not cost anyway."""
        alike: dict[int, list[int]] = {}
        for number, (_, length) in enumerate(spans):
            alike.setdefault(-(-length // CHUNK) * CHUNK, []).append(number)
        batches = []
        for width, members in alike.items():
            index = torch.full((len(members), width), num_tokens)
            for place, (start, length) in enumerate(spans[number] for number in members):
                index[place, :length] = torch.arange(start, start + length)
            batches.append((torch.tensor(members, device=device), index.to(device)))
        order = torch.cat([torch.arange(start, start + length) for start, length in spans])
        borders = torch.tensor([0, *accumulate(length for _, length in spans)])
        return cls(order.to(device), borders.to(device), tuple(batches))


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """How state runs through a row of N tokens."""

    halo: Tensor  # [M] int64: the row with each segment's last inputs before it; N where there are none
    inside: Tensor  # [N] int64: where in `halo` the row's tokens are
    roots: Stage  # segments that start from nothing
    heirs: Stage | None  # segments that go on from the end of a root
    parents: Tensor  # [heirs] int64: which root
    back: Tensor  # [N] int64: where each token of the row is in roots' tokens and heirs' tokens, one after the other


@functools.lru_cache(maxsize=2)  # all layers of a model ask for the same
def flow_of(segments: Segments, reach: int, device: torch.device) -> Flow:
    """The flow through a row whose convolutions see `reach` tokens before each token."""
    spans: list[Span] = list(zip(accumulate((0, *segments.q_lens[:-1])), segments.q_lens, strict=True))
    kinship = list(zip(spans, segments.prefixes, strict=True))
    roots = [span for span, prefix in kinship if prefix is None]
    heirs = [span for span, prefix in kinship if prefix is not None]
    parents = [roots.index(prefix) for prefix in segments.prefixes if prefix is not None]
    first = Stage.of(roots, segments.num_tokens, device)
    second = Stage.of(heirs, segments.num_tokens, device) if heirs else None
    halo, inside = _halo(kinship, segments.num_tokens, reach)
    return Flow(
        halo=halo.to(device),
        inside=inside.to(device),
        roots=first,
        heirs=second,
        parents=torch.tensor(parents, dtype=torch.int64, device=device),
        back=(first.order if second is None else torch.cat([first.order, second.order])).argsort(),
    )


def _halo(kinship: Sequence[tuple[Span, Span | None]], num_tokens: int, reach: int) -> tuple[Tensor, Tensor]:
    """`halo` and `inside` of a flow through segments with their prefixes."""
    nothing = torch.full((reach,), num_tokens)
    halo, inside, done = [], [], 0
    for (start, length), prefix in kinship:
        before = nothing if prefix is None else torch.cat([nothing, torch.arange(prefix[0], sum(prefix))])
        halo += [before[len(before) - reach :], torch.arange(start, start + length)]
        inside.append(torch.arange(length) + done + reach)
        done += reach + length
    return torch.cat(halo), torch.cat(inside)


def respect_segments(model: nn.Module) -> None:
    """Let the gated delta nets in `model` compute as this module says. They then need `segments=`."""
    for module in model.modules():
        if isinstance(module, NETS):
            module.forward = MethodType(_forward, module)


def recur(streams: Streams, flow: Flow, run: Callable[..., tuple[Tensor, Tensor | None]]) -> Tensor:
    """Outputs [N, heads, value_dim] of the recurrence; `run` is `run_padded` or `run_varlen`."""
    outputs, ends = run(streams, flow.roots, None, flow.heirs is not None)
    if flow.heirs is not None:
        assert ends is not None
        rest, _ = run(streams, flow.heirs, ends[flow.parents], False)
        outputs = torch.cat([outputs, rest])
    return outputs[flow.back]


def run_padded(
    streams: Streams, stage: Stage, starts: Tensor | None, want_ends: bool
) -> tuple[Tensor, Tensor | None]:  # [n, heads, value_dim] in the stage's order, [S, heads, key_dim, value_dim]
    """transformers' code, which runs anywhere, on segments padded to whole chunks. Padding leaves a state as it is."""
    room = Streams(*(torch.cat([stream, stream.new_zeros(1, *stream.shape[1:])]) for stream in streams))
    empty = len(streams.query)
    outputs, places, ends = [], [], []
    for members, index in stage.batches:
        part = Streams(*(stream[index] for stream in room))
        output, end = _CHUNKED(
            part.query,
            part.key,
            part.value,
            g=part.decay,
            beta=part.beta,
            chunk_size=CHUNK,
            initial_state=None if starts is None else starts[members],
            output_final_state=want_ends,
            use_qk_l2norm_in_kernel=True,
        )
        real = index != empty
        outputs.append(output[real])
        places.append(index[real])
        ends.append(end)
    found = torch.cat(places).argsort()[stage.order.argsort().argsort()]
    members = torch.cat([members for members, _ in stage.batches])
    return torch.cat(outputs)[found], torch.cat(ends)[members.argsort()] if want_ends else None


def run_varlen(
    streams: Streams, stage: Stage, starts: Tensor | None, want_ends: bool
) -> tuple[Tensor, Tensor | None]:  # as `run_padded`
    """flash-linear-attention's kernel, which knows borders."""
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule

    part = Streams(*(stream[stage.order][None] for stream in streams))
    output, ends = chunk_gated_delta_rule(
        part.query,
        part.key,
        part.value,
        g=part.decay,
        beta=part.beta,
        initial_state=starts,
        output_final_state=want_ends,
        use_qk_l2norm_in_kernel=True,
        cu_seqlens=stage.borders,
    )
    return output[0], ends


def _forward(
    net: Any,
    hidden_states: Tensor,  # [1, N, D], or this rank's slice
    cache_params: object = None,
    attention_mask: Tensor | None = None,
    **options: object,
) -> Tensor:  # as `hidden_states`
    segments = options.get("segments")
    if not isinstance(segments, Segments):
        raise ConfigError("packed gated delta nets need segments=; pass them to the language model's forward")
    if cache_params is not None or attention_mask is not None:
        raise ConfigError("packed gated delta nets have neither caches nor masks; set use_cache to false")
    flow = flow_of(segments, net.conv_kernel_size - 1, hidden_states.device)
    states, group = hidden_states[0], options.get("sequence")
    inputs = Inputs(
        mixed=net.in_proj_qkv(states),
        decay=-net.A_log.float().exp() * F.softplus(net.in_proj_a(states).float() + net.dt_bias),
        beta=net.in_proj_b(states).sigmoid(),
        weight=net.conv1d.weight.squeeze(1),
        num_keys=net.num_k_heads,
    )
    if isinstance(group, SequenceGroup):
        inputs = of_own_heads(net, inputs, group, segments.num_tokens)
    streams = _streams(net, inputs, flow)
    has_kernel = states.is_cuda and states.dtype != torch.float32 and is_flash_linear_attention_available()
    output = recur(streams, flow, run_varlen if has_kernel else run_padded)
    if isinstance(group, SequenceGroup):
        output = to_tokens(group, output[None])[0]
    gate = net.in_proj_z(states).reshape(-1, net.head_v_dim)
    output = net.norm(output.reshape(-1, net.head_v_dim), gate)
    return net.out_proj(output.view(1, len(states), -1))


def of_own_heads(net: Any, inputs: Inputs, group: SequenceGroup, num_tokens: int) -> Inputs:
    """This rank's tokens of all heads -> all tokens of its heads (Ulysses): no head looks at another. Collective.

    Key heads that are too few are repeated, with their part of the convolution.
    """
    size, heads = group.size, net.num_v_heads
    check_heads(heads, size)
    num_keys = math.lcm(net.num_k_heads, size)
    keys = torch.arange(num_keys).mul(net.num_k_heads).div(num_keys, rounding_mode="floor").view(size, -1)
    values = 2 * net.num_k_heads * net.head_k_dim + torch.arange(heads * net.head_v_dim).view(size, -1)
    queries = (keys[..., None] * net.head_k_dim + torch.arange(net.head_k_dim)).flatten(1)
    channels = torch.cat([queries, net.key_dim + queries, values], 1).to(inputs.mixed.device)  # [size, own]
    mixed = swap_equally(inputs.mixed[:, channels].transpose(0, 1), group).flatten(0, 1)
    both = torch.stack([inputs.decay, inputs.beta.float()], -1).unflatten(1, (size, -1)).transpose(0, 1)
    decay, beta = swap_equally(both, group).flatten(0, 1)[:num_tokens].unbind(-1)
    return Inputs(
        mixed=mixed[:num_tokens],
        decay=decay,
        beta=beta.to(inputs.beta.dtype),
        weight=inputs.weight[channels[group.rank]],
        num_keys=num_keys // size,
    )


def _streams(net: Any, inputs: Inputs, flow: Flow) -> Streams:
    """What the recurrence reads, of the heads that `inputs` has."""
    mixed = _convolve(net, inputs, flow)
    width, copies = inputs.num_keys * net.head_k_dim, inputs.decay.shape[1] // inputs.num_keys
    query, key, value = mixed.split([width, width, mixed.shape[1] - 2 * width], dim=-1)
    return Streams(
        query=query.unflatten(-1, (-1, net.head_k_dim)).repeat_interleave(copies, dim=1),
        key=key.unflatten(-1, (-1, net.head_k_dim)).repeat_interleave(copies, dim=1),
        value=value.unflatten(-1, (-1, net.head_v_dim)),
        decay=inputs.decay,
        beta=inputs.beta,
    )


def _convolve(net: Any, inputs: Inputs, flow: Flow) -> Tensor:
    """[N, channels] -> [N, channels]: one call for the row, every segment behind its own past."""
    room = torch.cat([inputs.mixed, inputs.mixed.new_zeros(1, inputs.mixed.shape[1])])
    outputs = dense.causal_conv1d_fn(
        room[flow.halo].t()[None], inputs.weight, net.conv1d.bias, activation=net.activation
    )
    return outputs[0].t()[flow.inside]
