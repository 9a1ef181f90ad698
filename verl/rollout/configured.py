# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration -> what an engine is told, and how responses are drawn. Pure: nothing is started here."""

from __future__ import annotations

from verl.config.plan import Plan
from verl.config.trainer import Config
from verl.models.adapter import local_folder
from verl.rollout.engine import SamplingPlan
from verl.rollout.environment import resolve_backend
from verl.rollout.options import EngineOptions

ENGINE_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def sampling_plan(config: Config) -> SamplingPlan:
    """How training responses are drawn."""
    rollout = config.worker.rollout
    return SamplingPlan(
        n=rollout.n,
        temperature=rollout.temperature,
        top_p=rollout.top_p,
        top_k=rollout.top_k,
        max_tokens=config.data.max_response_length,
        seed=rollout.seed,
        ignore_eos=rollout.ignore_eos,
        skip_special_tokens=config.worker.reward.skip_special_tokens,
    )


def engine_options(config: Config, device: str, plan: Plan, *, max_videos: int, max_images: int = 0) -> EngineOptions:
    """One engine."""
    rollout, model = config.worker.rollout, config.worker.actor.model
    return EngineOptions(
        model_path=local_folder(str(model.model_path)),
        tokenizer_path=local_folder(model.tokenizer_path) if model.tokenizer_path else None,
        max_model_len=plan.max_model_len,
        device=device,
        weight_transfer=resolve_backend(rollout.weight_transfer, device, colocated=rollout.colocated),
        dtype=ENGINE_DTYPES[rollout.dtype],
        max_num_seqs=rollout.max_num_seqs,
        max_num_batched_tokens=rollout.max_num_batched_tokens,
        tensor_parallel_size=rollout.tensor_parallel_size,
        gpu_memory_utilization=rollout.gpu_memory_utilization,
        kv_cache_memory_mb=rollout.kv_cache_memory_mb,
        enforce_eager=rollout.enforce_eager,
        enable_chunked_prefill=rollout.enable_chunked_prefill,
        colocated=rollout.colocated,
        seed=rollout.seed,
        max_videos=max_videos,
        max_images=max_images,
        trust_remote_code=model.trust_remote_code,
        disable_log_stats=rollout.disable_log_stats,
        lora_rank=model.lora.rank if model.lora.sync == "adapter" else 0,
        lora_sees=not (model.freeze_vision_tower and model.freeze_merger is not False),
    )
