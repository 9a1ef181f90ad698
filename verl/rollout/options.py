# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One engine's settings, as values that travel to the process that will run it. Imports no vLLM."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK = 128  # tokens per KV block on a CPU
KV_FLOOR_MB, KV_CEILING_MB = 64, 4096
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # those that vLLM has room for
ITEMSIZE = {"float32": 4, "float": 4, "bfloat16": 2, "float16": 2, "half": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What `VllmServer` needs to know. `device` is "cpu" or "cuda"; `weight_transfer` a resolved backend."""

    model_path: str
    max_model_len: int  # prompt and response together, in expanded tokens
    device: str
    weight_transfer: str
    tokenizer_path: str | None = None
    dtype: str = "bfloat16"
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    tensor_parallel_size: int = 1
    gpu_memory_utilization: float = 0.6
    kv_cache_memory_mb: int | None = None  # None: what gpu_memory_utilization leaves; on a CPU, from the model's size
    enforce_eager: bool = False  # always true on a CPU
    enable_chunked_prefill: bool = True
    colocated: bool = True  # shares its GPUs with the trainer and frees them in its sleep
    seed: int = 1
    max_videos: int = 1  # per prompt
    max_images: int = 0
    media_cache_gb: float = 1.0  # processed pixels that siblings share
    lora_rank: int = 0  # of adapters that are sent in place of weights; 0: there are none
    lora_sees: bool = False  # whether the vision tower has adapters too
    trust_remote_code: bool = False
    disable_log_stats: bool = True

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for vLLM's AsyncEngineArgs."""
        on_cpu = self.device == "cpu"
        # Without chunks a prompt must fit into one batch.
        least_batch = self.max_num_seqs if self.enable_chunked_prefill else self.max_model_len
        arguments: dict[str, Any] = {
            "model": self.model_path,
            "tokenizer": self.tokenizer_path or self.model_path,
            "trust_remote_code": self.trust_remote_code,
            "dtype": self.dtype,
            "seed": self.seed,
            "max_model_len": self.max_model_len,
            "max_num_seqs": self.max_num_seqs,
            "max_num_batched_tokens": max(self.max_num_batched_tokens, least_batch),
            "tensor_parallel_size": self.tensor_parallel_size,
            # Left to itself vLLM starts Ray workers in the placement group of this actor, where every GPU is taken.
            "distributed_executor_backend": "mp" if self.tensor_parallel_size > 1 else None,
            "enable_chunked_prefill": self.enable_chunked_prefill,
            "enable_prefix_caching": not (on_cpu and _is_hybrid(Path(self.model_path))),
            "enforce_eager": self.enforce_eager or on_cpu,
            "enable_sleep_mode": self.colocated and not on_cpu,
            "limit_mm_per_prompt": {"video": self.max_videos, "image": self.max_images},
            "mm_processor_cache_gb": self.media_cache_gb,
            "logprobs_mode": "processed_logprobs",
            "weight_transfer_config": {"backend": self.weight_transfer},
            "worker_extension_cls": "verl.rollout.worker.WorkerExtension",
            "disable_log_stats": self.disable_log_stats,
            "use_tqdm_on_load": False,
        }
        if self.lora_rank:
            arguments |= {
                "enable_lora": True,
                "max_loras": 1,
                "max_lora_rank": next(rank for rank in LORA_RANKS if rank >= self.lora_rank),
                "enable_tower_connector_lora": self.lora_sees,
            }
        if not on_cpu:
            arguments["gpu_memory_utilization"] = self.gpu_memory_utilization
        kv_mb = self.kv_cache_memory_mb or (self._cpu_kv_cache_mb() if on_cpu else None)
        if kv_mb is not None:
            arguments["kv_cache_memory_bytes"] = kv_mb << 20
        return arguments

    def _cpu_kv_cache_mb(self) -> int:
        """Room for every sequence at its longest, within bounds, and always for one."""
        per_token = _kv_bytes_per_token(Path(self.model_path), ITEMSIZE.get(self.dtype, 4))
        if per_token is None:
            return KV_CEILING_MB
        blocks = math.ceil(self.max_model_len / BLOCK)
        one_mb = per_token * BLOCK * (blocks + 1) / 2**20  # vLLM keeps one block for itself
        all_mb = min(max(one_mb * self.max_num_seqs, KV_FLOOR_MB), KV_CEILING_MB)
        return math.ceil(max(all_mb, one_mb))


def _is_hybrid(model: Path) -> bool:
    """Whether some layers keep a state in place of keys and values.

    WORKAROUND(vllm 0.32): for these the prefix cache cuts prompts at block borders, and a seeded request whose prompt
    is cut stops the engine on a CPU: torch's generators there have no offset to set back.
    """
    return "linear_attention" in (_text_config(model) or {}).get("layer_types", ())


def _text_config(model: Path) -> dict[str, Any] | None:
    """From config.json; None for a model on a hub."""
    file = model / "config.json"
    if not file.is_file():
        return None
    config = json.loads(file.read_text(encoding="utf-8"))
    return config.get("text_config") or config


def _kv_bytes_per_token(model: Path, itemsize: int) -> int | None:
    """Size of one token's keys and values in all layers; None for a model on a hub."""
    text = _text_config(model)
    if text is None:
        return None
    num_heads = text["num_attention_heads"]
    head_dim = text.get("head_dim") or text["hidden_size"] // num_heads
    num_kv_heads = text.get("num_key_value_heads") or num_heads
    return 2 * text["num_hidden_layers"] * num_kv_heads * head_dim * itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferSettings:
    """How one trainer rank sends weights. Ranks differ in `rank` alone; rank 0 talks to the engines."""

    backend: str  # resolved: "shm", "ipc" or "nccl"
    rank: int
    wire_dtype: str  # the engine's dtype: wider tensors are cast before they travel
    bucket_bytes: int = 256 << 20
    engine_ranks: int = 1  # tensor-parallel ranks of each engine
    master_address: str = ""  # nccl: a free port of rank 0's node
    master_port: int = 0
