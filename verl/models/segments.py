# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Attention over packed rows: one formulation for plain packing and for prompts that responses share.

The queries of a row are cut into segments. A segment sees its own keys causally and, if it has a prefix, all
keys of that prefix: a response sees its prompt and itself. So a prompt goes through the model once per group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import AttentionInterface

from verl.errors import ConfigError
from verl.models.ulysses import SequenceGroup, to_heads, to_tokens

ATTENTION_NAME = "verl_segments"
FLASH = (torch.bfloat16, torch.float16)  # what flash attention computes in


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """How the tokens of one row see each other. Segment i has `q_lens[i]` queries and `k_lens[i]` keys.

    The keys of all segments, end to end, are `keys[k_index]`, or the row's own keys if `k_index` is None.
    """

    q_lens: tuple[int, ...]  # sum = N
    k_lens: tuple[int, ...]
    prefixes: tuple[tuple[int, int] | None, ...]  # (start, length) in the row of the keys shared with others
    k_index: Tensor | None  # [sum k_lens] int64
    cu_q: Tensor  # [segments + 1] int32
    cu_k: Tensor  # [segments + 1] int32

    @property
    def num_tokens(self) -> int:
        """N."""
        return sum(self.q_lens)

    @property
    def num_pairs(self) -> int:
        """A query and a key that it sees."""
        return sum(q * (k - q) + q * (q + 1) // 2 for q, k in zip(self.q_lens, self.k_lens, strict=True))

    def to(self, device: torch.device | str) -> Segments:
        """The same segments with their tensors on `device`."""
        k_index = None if self.k_index is None else self.k_index.to(device)
        return replace(self, k_index=k_index, cu_q=self.cu_q.to(device), cu_k=self.cu_k.to(device))


def plain_segments(lens: Sequence[int]) -> Segments:
    """Sequences side by side, each seeing only itself."""
    _positive(lens)
    cumulative = _cumulative(lens)
    return Segments(tuple(lens), tuple(lens), (None,) * len(lens), None, cumulative, cumulative)


def group_segments(groups: Sequence[tuple[int, Sequence[int]]]) -> Segments:
    """Groups (prompt length, [response length, ...]) laid out as prompt, response, response, next prompt."""
    q_lens: list[int] = []
    prefixes: list[tuple[int, int] | None] = []
    k_index: list[Tensor] = []
    start = 0
    for prompt_len, response_lens in groups:
        _positive([prompt_len, *response_lens])
        prompt = torch.arange(start, start + prompt_len)
        q_lens.append(prompt_len)
        prefixes.append(None)
        k_index.append(prompt)
        end = start + prompt_len
        for length in response_lens:
            q_lens.append(length)
            prefixes.append((start, prompt_len))
            k_index += [prompt, torch.arange(end, end + length)]
            end += length
        start = end
    k_lens = tuple(q + (p[1] if p else 0) for q, p in zip(q_lens, prefixes, strict=True))
    index = torch.cat(k_index) if k_index else torch.zeros(0, dtype=torch.int64)
    return Segments(tuple(q_lens), k_lens, tuple(prefixes), index, _cumulative(q_lens), _cumulative(k_lens))


def attention(
    module: nn.Module,
    query: Tensor,  # [1, heads, N, head_dim]
    key: Tensor,  # [1, kv_heads, N, head_dim]
    value: Tensor,
    attention_mask: Tensor | None,
    **options: object,
) -> tuple[Tensor, None]:  # [1, N, heads, head_dim]
    """transformers' attention interface. `options` holds `segments`; `scaling` defaults to head_dim ** -0.5.

    With a SequenceGroup as `sequence` in them, tokens are this rank's slice of a row that `segments` describes whole.

    Raises ConfigError for what segments do not express: dropout and sliding windows.
    """
    segments, scaling = options.get("segments"), options.get("scaling")
    if not isinstance(segments, Segments):
        raise ConfigError(f"{ATTENTION_NAME} attention needs segments=; pass them to the language model's forward")
    if attention_mask is not None or options.get("dropout") or options.get("sliding_window"):
        raise ConfigError(f"{ATTENTION_NAME} attention has no masks, dropout or sliding window; set them off")
    group = options.get("sequence")
    if isinstance(group, SequenceGroup):
        query, key, value = to_heads(group, segments.num_tokens, (query, key, value))
    if segments.num_tokens != query.shape[2] or query.shape[0] != 1:
        raise ValueError(f"segments of {segments.num_tokens} tokens for queries {tuple(query.shape)}")
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)  # type: ignore[arg-type]
    run = _varlen if query.is_cuda and query.dtype in FLASH else _sdpa
    output = run(query, key, value, segments, scale)
    return to_tokens(group, output) if isinstance(group, SequenceGroup) else output, None


def register_attention() -> str:
    """Make `attention` known to transformers; the name it got.

    The name is deliberately absent from transformers' mask functions: it then builds no mask.
    """
    AttentionInterface.register(ATTENTION_NAME, attention)
    return ATTENTION_NAME


def _sdpa(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    grouped = query.shape[1] != key.shape[1]
    outputs = []
    start = 0
    for length, prefix in zip(segments.q_lens, segments.prefixes, strict=True):
        q, k, v = (x[:, :, start : start + length] for x in (query, key, value))
        mask = None
        if prefix is not None:
            first, shared = prefix
            k = torch.cat([key[:, :, first : first + shared], k], 2)
            v = torch.cat([value[:, :, first : first + shared], v], 2)
            mask = torch.ones(length, shared + length, dtype=torch.bool, device=q.device).tril(shared)
        outputs.append(
            F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=grouped
            )
        )
        start += length
    return torch.cat(outputs, 2).transpose(1, 2).contiguous()


def _varlen(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    """Torch's flash attention. Its causal mask is aligned to the last key of each segment, as needed here."""
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # [N, heads, head_dim]
    if segments.k_index is not None:
        k, v = k[segments.k_index], v[segments.k_index]
    out = varlen_attn(
        q.contiguous(),
        k.contiguous(),
        v.contiguous(),
        segments.cu_q,
        segments.cu_k,
        max(segments.q_lens),
        max(segments.k_lens),
        scale=scale,
        window_size=(-1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.unsqueeze(0)  # type: ignore[union-attr]


def _cumulative(lens: Sequence[int]) -> Tensor:
    return torch.tensor([0, *accumulate(lens)], dtype=torch.int32)


def _positive(lens: Sequence[int]) -> None:
    if any(length < 1 for length in lens):
        raise ValueError(f"segment lengths must be positive, got {list(lens)}")
