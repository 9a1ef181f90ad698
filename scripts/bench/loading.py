# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What loading a checkpoint of several files costs each of two ranks in memory.

    python -m scripts.bench.loading

A decoder of 60 million parameters in bfloat16, spread over two ranks in float32: each ends with half of it. How far a
rank's memory rises above that at its worst, as a share of the whole model in float32. The exit status says whether
streaming stays below a fifth on both.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.multiprocessing.spawn import spawn
from transformers import AutoConfig, AutoModelForCausalLM

from examples.quickstart.make_model import build_tiny_qwen3
from verl.config.model import FsdpConfig, ModelConfig
from verl.fsdp.build import Blueprint, build
from verl.models.adapter import ModelAdapter, load_adapter

SIZES = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "vocab_size": 12288,
}
VARIANTS = {
    "rank 0 streams": "what training does",
    "each rank reads": "fsdp.enable_rank0_init=false",
    "rank 0 loads": "from_pretrained on rank 0, then a broadcast of its state dict",
}
WANTED = 0.2  # the largest weight is a twentieth


def main() -> int:
    """Print one line per variant."""
    with tempfile.TemporaryDirectory() as directory:
        folder = _large(Path(directory))
        files = len(list(folder.glob("*.safetensors")))
        rises = {variant: _measured(variant, folder) for variant in VARIANTS}
    print(f"{files} files; memory above a rank's own half, as a share of the model in float32")
    for variant, (first, second) in rises.items():
        print(f"{variant:16} rank 0 {first:5.2f}  rank 1 {second:5.2f}  ({VARIANTS[variant]})")
    return 0 if max(rises["rank 0 streams"]) < WANTED else 1


def _large(directory: Path) -> Path:
    folder = build_tiny_qwen3(directory / "model")
    config = AutoConfig.from_pretrained(folder)
    for name, value in SIZES.items():
        setattr(config, name, value)
    config = type(config)(**{key: value for key, value in config.to_dict().items() if key != "layer_types"})
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder, max_shard_size="20MB")
    return folder


def _measured(variant: str, folder: Path) -> tuple[float, float]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    spawn(_rank, (variant, folder, port), nprocs=2)
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in range(2))
    return first, second


def _rank(rank: int, variant: str, folder: Path, port: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    adapter = load_adapter(str(folder))
    adapter.build(torch.float32, meta=True)  # imports, and what the allocator keeps
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    model = _loaded_whole(adapter, mesh) if variant == "rank 0 loads" else _streamed(variant, adapter, mesh)
    numel = sum(parameter.numel() for parameter in model.parameters())
    rise = (_memory("VmHWM") - before) / (4 * numel) - 0.5
    (folder / f"{rank}.json").write_text(json.dumps(rise))
    dist.destroy_process_group()


def _streamed(variant: str, adapter: ModelAdapter, mesh: DeviceMesh) -> nn.Module:
    fsdp = FsdpConfig(enable_rank0_init=variant == "rank 0 streams")
    return build(adapter, Blueprint(model=ModelConfig(), fsdp=fsdp), mesh)


def _loaded_whole(adapter: ModelAdapter, mesh: DeviceMesh) -> nn.Module:
    whole: dict[str, Any] = adapter.build(torch.float32).state_dict() if dist.get_rank() == 0 else {}
    model = adapter.build(torch.float32, meta=True)
    for unit in adapter.shard_units(model):
        fully_shard(unit, mesh=mesh)
    fully_shard(model, mesh=mesh)
    model._apply(lambda tensor: torch.empty_like(tensor, device="cpu") if tensor.is_meta else tensor)
    set_model_state_dict(model, whole, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True))
    return model


def _memory(name: str) -> int:
    """Bytes of this process, now (VmRSS) or at most since it was last reset (VmHWM)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
