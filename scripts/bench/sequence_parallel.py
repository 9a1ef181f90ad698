# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What a rank keeps of a long row until the backward pass: alone, and with a second rank (Ulysses).

    python -m scripts.bench.sequence_parallel [--tokens 16384]

One row, a video and a response, forward and backward, on one CPU thread per rank; each layout has processes of its own.
Counted are the bytes of all tensors that autograd saves, weights aside. Log-probabilities must agree; the exit status
says whether they do and whether two ranks keep about half each.
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed.device_mesh import init_device_mesh
from torch.multiprocessing.spawn import spawn

from examples.quickstart.make_model import build_tiny_qwen3_vl
from scripts.bench.random_clip import OneClip
from verl.fsdp.forward import add_policy_forward, response_logprobs
from verl.fsdp.mesh import sequence_group
from verl.fsdp.packing import Packer
from verl.fsdp.patches import PatchCache
from verl.fsdp.sampling import Sampling
from verl.models.adapter import ModelAdapter, load_adapter, override
from verl.types import MediaRef, Prompt, Record, Trajectory

RESPONSE, SIDE = 512, 512  # tokens; pixels of a frame, 256 tokens for a pair of them
MOST, TOLERANCE = 0.52, 1e-5
CHANGES: dict[str, Any] = {
    "text_config": {
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 32,
    },
    "vision_config": {
        "depth": 4,
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_heads": 4,
        "out_hidden_size": 256,
        "deepstack_visual_indexes": [1, 2, 3],
    },
}


def main() -> int:
    """Measure every layout and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=16384, help="tokens of the row, about")
    tokens = parser.parse_args().tokens
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        build_tiny_qwen3_vl(scratch / "model")
        print("checkpointing  ranks  tokens  saved MiB  ratio  peak MiB  ratio  seconds  logprob diff")
        return int(not all([report(scratch, tokens, checkpointing) for checkpointing in (False, True)]))


def report(scratch: Path, tokens: int, checkpointing: bool) -> bool:
    """Print the lines of one and of two ranks; whether they agree and two keep half each."""
    costs = []
    for size in (1, 2):
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            port = server.getsockname()[1]
        spawn(_rank, (size, port, scratch, tokens, checkpointing), nprocs=size)
        ranks = [json.loads((scratch / f"{size}-{rank}.json").read_text()) for rank in range(size)]
        costs.append({name: max(rank[name] for rank in ranks) for name in ranks[0]})
    found, expected = (load_file(scratch / f"{size}.safetensors")["logprobs"] for size in (2, 1))
    difference = float((found - expected).abs().max())
    for size, cost in enumerate(costs, 1):
        ratios = [cost[name] / costs[0][name] for name in ("saved", "peak")]
        print(
            f"{'on' if checkpointing else 'off':13} {size:6} {cost['tokens']:7} {cost['saved']:10.1f} {ratios[0]:6.3f}"
            f" {cost['peak']:9.0f} {ratios[1]:6.3f} {cost['seconds']:8.1f} {difference if size == 2 else 0:13.1e}"
        )
    return difference <= TOLERANCE and costs[1]["saved"] <= MOST * costs[0]["saved"]


def saved_bytes(model: nn.Module, run: Callable[[], Tensor]) -> tuple[int, Tensor]:
    """Bytes that autograd keeps for the backward pass of what `run` returns, the weights of `model` aside; that."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    held: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        output = run()
    return sum(held.values()), output


def _rank(rank: int, size: int, port: int, scratch: Path, tokens: int, checkpointing: bool) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    adapter = load_adapter(str(scratch / "model"))
    override(adapter.config, CHANGES)
    reader = OneClip(2 * max((tokens - RESPONSE) // 266, 1), SIDE, SIDE)  # a moment: 256 features, the rest is its time
    patches = PatchCache(reader, adapter, 1 << 40)
    group = sequence_group(init_device_mesh("cpu", (size,)), size)
    packer = Packer(adapter, patches, shared_prompt=False, group=group)
    rows = [make_row(adapter, reader.ref)]
    model = build_model(adapter, checkpointing=checkpointing)
    (bin_,) = packer.plan(rows, 1 << 40)
    batch = packer.pack(rows, bin_)
    rest, start = _peak(), time.perf_counter()
    saved, logprobs = saved_bytes(model, lambda: response_logprobs(model, batch, Sampling())[0])
    (-logprobs.mean()).backward()
    cost = {"saved": saved / 2**20, "peak": _peak() - rest, "seconds": time.perf_counter() - start}
    cost["tokens"] = rows[0].num_tokens
    (scratch / f"{size}-{rank}.json").write_text(json.dumps(cost))
    if rank == 0:
        save_file({"logprobs": logprobs.detach().contiguous()}, scratch / f"{size}.safetensors")
    dist.barrier()
    dist.destroy_process_group()


def build_model(adapter: ModelAdapter, *, checkpointing: bool) -> Any:
    """The network with random weights, the same on every rank."""
    model: Any = adapter.build(torch.float32, meta=True, gradient_checkpointing=checkpointing)
    torch.manual_seed(0)
    state = {
        name: torch.randn(tensor.shape) * 0.03 if tensor.dim() > 1 else torch.rand(tensor.shape)
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(state, assign=True)
    add_policy_forward(model, adapter)
    return model.requires_grad_(True)


def make_row(adapter: ModelAdapter, clip: MediaRef) -> Trajectory:
    """One random response to a video."""
    rendered = adapter.render("<video>What happens?", 1)
    collapsed = adapter.encode(rendered)
    expanded = adapter.expand(collapsed, [clip.metadata])
    record = Record(id="0", where="bench", problem="", answer="", problem_type="open", data_type="video")
    prompt = Prompt(
        record=record, text=rendered, collapsed_ids=collapsed, ids=expanded.ids, grids=expanded.grids, media=(clip,)
    )
    ids = np.random.default_rng(0).integers(0, min(adapter.banned_ids), RESPONSE).astype(np.int32)
    return Trajectory(
        prompt=prompt,
        group=0,
        index=0,
        response_ids=ids,
        rollout_logprobs=np.zeros(RESPONSE, np.float32),
        text="",
        truncated=False,
    )


def _peak() -> float:
    """MiB of this process at most, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    sys.exit(main())
