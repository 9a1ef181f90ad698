# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts and sampling plans in vLLM's words. Imports no vLLM."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from verl.errors import AlignmentError
from verl.rollout.engine import SamplingPlan
from verl.types import ImageClip, MediaClip, Prompt, Tokens, VideoMetadata


def build_request(prompt: Prompt, clips: Sequence[MediaClip]) -> dict[str, Any]:
    """A vLLM prompt. `clips` are those of `prompt.media`, in order, already sampled and resized.

    The ids are the collapsed ones: vLLM expands each placeholder itself, and would expand expanded ones
    again.
    """
    request: dict[str, Any] = {"prompt_token_ids": prompt.collapsed_ids.tolist()}
    if not clips:
        return request
    data: dict[str, list[Any]] = {}
    uuids: dict[str, list[str]] = {}
    for ref, clip in zip(prompt.media, clips, strict=True):
        data.setdefault(ref.kind, []).append(_item(clip))
        uuids.setdefault(ref.kind, []).append(ref.key)
    request["multi_modal_data"] = data
    request["multi_modal_uuids"] = uuids
    request["mm_processor_kwargs"] = {"do_resize": False} | ({"do_sample_frames": False} if "video" in data else {})
    return request


def _item(clip: MediaClip) -> Any:
    """An image [H, W, 3], or frames [F, H, W, 3] with what is known about them."""
    frames = clip.frames.transpose(0, 2, 3, 1)
    return frames[0] if isinstance(clip, ImageClip) else (frames, _metadata(clip.metadata))


def _metadata(metadata: VideoMetadata) -> dict[str, Any]:
    """As Hugging Face's VideoMetadata wants it. The list is new each time: processors extend it in place."""
    return {
        "fps": metadata.source_fps,
        "frames_indices": list(metadata.excerpt_indices),
        "total_num_frames": metadata.total_frames,
        "duration": metadata.duration,
        "video_backend": metadata.decoder,
        "do_sample_frames": False,
    }


def sampling_arguments(plan: SamplingPlan, group: int, index: int) -> dict[str, Any]:
    """Keyword arguments for vLLM's SamplingParams of one row: a request each, so that rows stream."""
    return {
        "n": 1,
        "temperature": plan.temperature,
        "top_p": plan.top_p,
        "top_k": plan.top_k,
        "min_p": plan.min_p,
        "repetition_penalty": plan.repetition_penalty,
        "presence_penalty": plan.presence_penalty,
        "frequency_penalty": plan.frequency_penalty,
        "max_tokens": plan.max_tokens,
        "seed": None if plan.seed is None else row_seed(plan.seed, group, index),
        "ignore_eos": plan.ignore_eos,
        "stop": list(plan.stop),
        "detokenize": bool(plan.stop),  # text is decoded once, at the end
        "logprobs": 0,  # of the sampled token alone
        "flat_logprobs": True,
    }


def row_seed(seed: int, group: int, index: int) -> int:
    """A seed per response that depends on nothing else: neither the server nor the order of arrival."""
    digest = hashlib.blake2b(f"{seed}/{group}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def check_expansion(prompt: Prompt, engine_ids: Tokens) -> None:
    """Raise AlignmentError unless the engine saw exactly the tokens that will be trained on."""
    if np.array_equal(engine_ids, prompt.ids):
        return
    shared = min(len(engine_ids), len(prompt.ids))
    differing = np.flatnonzero(engine_ids[:shared] != prompt.ids[:shared])
    first = int(differing[0]) if differing.size else shared
    raise AlignmentError(
        f"{prompt.record.where}: the engine expanded the prompt to {len(engine_ids)} tokens, the adapter to "
        f"{len(prompt.ids)}; they differ from position {first}. Engine and trainer would not see the same: "
        "is the model folder's processor the one the adapter was written for?"
    )
