# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from verl.errors import ConfigError
from verl.rollout.environment import engine_environment, resolve_backend
from verl.rollout.options import BLOCK, EngineOptions

TEXT = {"num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 32}
BYTES_PER_TOKEN = 2 * 4 * 2 * 32 * 4


def options(model_path, **changes):
    defaults = {"max_model_len": 1000, "device": "cpu", "weight_transfer": "shm", "dtype": "float32"}
    return EngineOptions(model_path=str(model_path), **{**defaults, **changes})


def kv_bytes(tmp_path, config=None, **changes):
    (tmp_path / "config.json").write_text(json.dumps(config or {"text_config": TEXT}))
    return options(tmp_path, **changes).arguments()["kv_cache_memory_bytes"]


def test_cpu_cache_holds_every_sequence_at_its_longest(tmp_path):
    per_sequence = BYTES_PER_TOKEN * BLOCK * 8
    assert kv_bytes(tmp_path, max_num_seqs=64) >= 64 * per_sequence
    assert kv_bytes(tmp_path, {**TEXT}, max_num_seqs=64) == kv_bytes(tmp_path, max_num_seqs=64)


def test_cpu_cache_has_a_floor_and_a_ceiling(tmp_path):
    assert kv_bytes(tmp_path, max_num_seqs=1) == 64 << 20
    assert kv_bytes(tmp_path, max_num_seqs=100_000) == 4096 << 20


def test_cpu_cache_holds_one_sequence_whatever_the_ceiling(tmp_path):
    long = 4 << 20
    assert kv_bytes(tmp_path, max_model_len=long) >= BYTES_PER_TOKEN * (long + BLOCK)


def test_head_dimension_follows_from_the_hidden_size_when_it_is_not_said(tmp_path):
    implied = {**TEXT, "hidden_size": 256}
    del implied["head_dim"]
    assert kv_bytes(tmp_path, implied) == kv_bytes(tmp_path)


def test_a_cache_size_that_was_given_is_taken(tmp_path):
    assert kv_bytes(tmp_path, kv_cache_memory_mb=100) == 100 << 20


def test_cuda_leaves_the_cache_to_the_memory_share(tmp_path):
    arguments = options(tmp_path, device="cuda", weight_transfer="ipc").arguments()
    assert "kv_cache_memory_bytes" not in arguments
    assert arguments["gpu_memory_utilization"] == 0.6


@pytest.mark.parametrize(
    ("device", "colocated", "sleeps", "eager"),
    [("cpu", True, False, True), ("cuda", True, True, False), ("cuda", False, False, False)],
)
def test_only_an_engine_that_shares_its_gpu_sleeps(tmp_path, device, colocated, sleeps, eager):
    arguments = options(tmp_path, device=device, colocated=colocated).arguments()
    assert (arguments["enable_sleep_mode"], arguments["enforce_eager"]) == (sleeps, eager)


@pytest.mark.parametrize(("size", "executor"), [(1, None), (2, "mp")])
def test_an_engine_on_several_gpus_never_leaves_its_workers_to_ray(tmp_path, size, executor):
    arguments = options(tmp_path, device="cuda", tensor_parallel_size=size).arguments()
    assert arguments["distributed_executor_backend"] == executor


@pytest.mark.parametrize(("rank", "room"), [(1, 1), (4, 8), (64, 64), (65, 128), (512, 512)])
def test_an_engine_that_is_sent_adapters_has_room_for_them(tmp_path, rank, room):
    arguments = options(tmp_path, device="cuda", lora_rank=rank, lora_sees=True).arguments()
    assert arguments["enable_lora"] and arguments["enable_tower_connector_lora"]
    assert (arguments["max_loras"], arguments["max_lora_rank"]) == (1, room)
    assert "enable_lora" not in options(tmp_path, device="cuda").arguments()


def test_without_chunks_the_longest_prompt_fits_into_a_batch(tmp_path):
    changes = {"max_num_batched_tokens": 100, "max_num_seqs": 16}
    whole = options(tmp_path, enable_chunked_prefill=False, **changes).arguments()
    chunked = options(tmp_path, **changes).arguments()
    assert (whole["max_num_batched_tokens"], chunked["max_num_batched_tokens"]) == (1000, 100)


@pytest.mark.parametrize(
    ("device", "colocated", "backend"), [("cpu", True, "shm"), ("cuda", True, "ipc"), ("cuda", False, "nccl")]
)
def test_auto_picks_the_backend_of_the_place(device, colocated, backend):
    assert resolve_backend("auto", device, colocated=colocated) == backend
    assert resolve_backend(backend, device, colocated=colocated) == backend


@pytest.mark.parametrize(
    ("backend", "device", "colocated"),
    [
        ("ipc", "cpu", True),
        ("nccl", "cpu", False),
        ("nccl", "cuda", True),
        ("ipc", "cuda", False),
        ("rdma", "cuda", True),
    ],
)
def test_a_backend_that_cannot_work_is_refused(backend, device, colocated):
    with pytest.raises(ConfigError, match=backend):
        resolve_backend(backend, device, colocated=colocated)


def test_pickled_handles_are_allowed_where_cuda_ipc_needs_them_alone():
    flag = "VLLM_ALLOW_INSECURE_SERIALIZATION"
    assert flag in engine_environment("cuda")
    assert flag not in engine_environment("cuda", "nccl")
    assert flag not in engine_environment("cpu")


def test_cpu_engines_are_not_bound_to_one_core():
    environment = engine_environment("cpu", num_threads=4)
    assert (environment["VLLM_CPU_OMP_THREADS_BIND"], environment["OMP_NUM_THREADS"]) == ("nobind", "4")
