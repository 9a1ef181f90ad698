# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What a training pass costs: transformers one response at a time, plain packing, packing with a shared prompt.

    python -m scripts.bench.policy_pass [--tiny]

Forward and backward over one video prompt and its responses, on one CPU thread, each variant in a process of its own.
Log-probabilities and gradients must agree; the exit status says whether they do and whether sharing pays.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText

from examples.quickstart.make_model import build_tiny_qwen3_vl
from scripts.bench.random_clip import OneClip
from verl.fsdp.forward import add_policy_forward, response_logprobs
from verl.fsdp.packing import Packer
from verl.fsdp.patches import PatchCache
from verl.fsdp.sampling import Sampling
from verl.models.adapter import ModelAdapter, load_adapter, override
from verl.types import MediaRef, Prompt, Record, Trajectory

VARIANTS = ("stock", "trimmed", "plain", "shared")  # trimmed: stock, asked for the logits of responses only
STOCK = ("stock", "trimmed")
PROMPT_TOKENS, RESPONSES = 2000, (43, 64, 61, 52, 64, 58, 47, 64)
FRAMES, HEIGHT, WIDTH = 16, 256, 512  # 8 moments of 128 tokens
WANTED_SPEEDUP, LOGPROB_TOLERANCE, GRADIENT_TOLERANCE = 6.0, 2e-5, 1e-4  # the last relative to the largest gradient
LARGER = {  # 51 million parameters
    "text_config": {
        "vocab_size": 8192,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 64,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [12, 10, 10],
            "mrope_interleaved": True,
        },
    },
    "vision_config": {
        "depth": 6,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_heads": 4,
        "out_hidden_size": 512,
        "deepstack_visual_indexes": [1, 3, 5],
    },
}


def main() -> int:
    """Run all variants, or one of them in a process that `main` started."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="0.7 million parameters instead of 51")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.variant:
        print(json.dumps(measure(arguments.variant, arguments.scratch, tiny=arguments.tiny)))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        build_tiny_qwen3_vl(Path(scratch) / "model")
        costs = {variant: _in_own_process(variant, Path(scratch), tiny=arguments.tiny) for variant in VARIANTS}
        return report(costs, {variant: load_file(Path(scratch) / f"{variant}.safetensors") for variant in VARIANTS})


def report(costs: dict[str, dict[str, float]], results: dict[str, dict[str, Tensor]]) -> int:
    """Print the table; 1 when a variant differs or sharing does not pay."""
    stock = costs["stock"]
    millions = stock["parameters"] / 1e6
    print(f"{millions:.1f}M parameters, {stock['prompt_tokens']:.0f} prompt tokens, {len(RESPONSES)} responses")
    print("variant     cpu s  speedup  peak MiB  pass MiB  logprob diff  grad diff")
    agrees = True
    for variant, cost in costs.items():
        logprobs, gradients = _differences(results[variant], results["stock"])
        agrees &= logprobs <= LOGPROB_TOLERANCE and gradients <= GRADIENT_TOLERANCE
        speedup = stock["seconds"] / cost["seconds"]
        print(
            f"{variant:8} {cost['seconds']:8.2f} {speedup:7.1f}x {cost['peak']:9.0f} {cost['peak'] - cost['rest']:9.0f}"
            f" {logprobs:13.1e} {gradients:10.1e}"
        )
    pays = stock["seconds"] / costs["shared"]["seconds"] >= WANTED_SPEEDUP
    print(f"shared prompt: {'at least' if pays else 'LESS THAN'} {WANTED_SPEEDUP:.0f}x the speed of stock")
    print(f"results: {'agree' if agrees else 'DIFFER'} (grad diff is relative to the largest gradient)")
    return 0 if agrees and pays else 1


def measure(variant: str, scratch: Path, *, tiny: bool) -> dict[str, float]:
    """Cost of one pass; its log-probs and gradients go to <scratch>/<variant>.safetensors."""
    torch.set_num_threads(1)
    adapter = load_adapter(str(scratch / "model"))
    if not tiny:
        override(adapter.config, LARGER)
    reader = OneClip(FRAMES, HEIGHT, WIDTH)
    rows = make_rows(adapter, reader.ref)
    model = build_model(adapter, stock=variant in STOCK)
    patches = PatchCache(reader, adapter, 1 << 40)
    patches.get(reader.ref)
    rest = _resident()
    packer = Packer(adapter, patches, shared_prompt=variant == "shared")
    stock = partial(stock_pass, patches=patches, trims=variant == "trimmed")
    run = stock if variant in STOCK else partial(packed_pass, packer=packer)
    run(model, rows[:1])  # what happens once per process stays out of the measurement
    model.zero_grad()
    start = time.process_time()
    logprobs = run(model, rows)
    cost = {"seconds": time.process_time() - start, "rest": rest, "peak": _peak()}
    gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()}
    save_file({"logprobs": logprobs, **gradients}, scratch / f"{variant}.safetensors")
    size = sum(parameter.numel() for parameter in model.parameters())
    return {**cost, "parameters": size, "prompt_tokens": len(rows[0].prompt.ids)}


def build_model(adapter: ModelAdapter, *, stock: bool) -> Any:
    """The same random weights in transformers' own network or in ours."""
    model: Any = adapter.build(torch.float32, meta=True)
    torch.manual_seed(0)
    state = {
        name: torch.randn(tensor.shape) * 0.03 if tensor.dim() > 1 else torch.rand(tensor.shape)
        for name, tensor in model.state_dict().items()
    }
    if stock:
        model = AutoModelForImageTextToText.from_config(adapter.config, dtype=torch.float32, attn_implementation="sdpa")
    model.load_state_dict(state, assign=True)
    add_policy_forward(model, adapter)
    return model.requires_grad_(True).train()


def stock_pass(model: nn.Module, rows: list[Trajectory], patches: PatchCache, *, trims: bool) -> Tensor:
    """Each response behind its own copy of the prompt and the video, with logits of all tokens, or of the response."""
    found, video_token = [], int(cast(Any, model.config).video_token_id)
    for row in rows:
        prompt, response = row.prompt, torch.from_numpy(row.response_ids).long()
        ids = torch.cat([torch.from_numpy(prompt.ids).long(), response])[None]
        clip = patches.get(prompt.media[0])
        logits = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values_videos=clip.normalised(torch.float32),
            video_grid_thw=torch.tensor([clip.grid]),
            mm_token_type_ids=2 * torch.eq(ids, video_token).int(),
            logits_to_keep=len(response) + 1 if trims else 0,
        ).logits[0, -len(response) - 1 : -1]
        logprobs = logits.log_softmax(-1).gather(-1, response[:, None])[:, 0]
        (-logprobs.sum() / sum(RESPONSES)).backward()
        found.append(logprobs.detach())
    return torch.cat(found)


def packed_pass(model: nn.Module, rows: list[Trajectory], packer: Packer) -> Tensor:
    """All responses in one micro-batch."""
    (bin_,) = packer.plan(rows, 1 << 40)
    batch = packer.pack(rows, bin_)
    logprobs, _ = response_logprobs(model, batch, Sampling())
    (-logprobs.sum() / sum(RESPONSES)).backward()
    by_place = dict(zip(batch.order, logprobs.detach(), strict=True))
    return torch.cat([by_place[place][: len(rows[place].response_ids)] for place in range(len(rows))])


def make_rows(adapter: ModelAdapter, clip: MediaRef) -> list[Trajectory]:
    """Siblings of one prompt of PROMPT_TOKENS tokens, or a few less."""
    rng = np.random.default_rng(0)
    words: list[str] = []
    prompt = _prompt(adapter, clip, "")
    while True:
        words.append(str(rng.integers(10)))
        longer = _prompt(adapter, clip, " ".join(words))
        if len(longer.ids) > PROMPT_TOKENS:
            break
        prompt = longer
    ordinary = min(adapter.banned_ids)
    return [
        Trajectory(
            prompt=prompt,
            group=0,
            index=index,
            response_ids=rng.integers(0, ordinary, length).astype(np.int32),
            rollout_logprobs=np.zeros(length, np.float32),
            text="",
            truncated=False,
        )
        for index, length in enumerate(RESPONSES)
    ]


def _prompt(adapter: ModelAdapter, clip: MediaRef, text: str) -> Prompt:
    rendered = adapter.render(f"<video>{text}", 1)
    collapsed = adapter.encode(rendered)
    expanded = adapter.expand(collapsed, [clip.metadata])
    record = Record(id="0", where="bench", problem=text, answer="", problem_type="open", data_type="video")
    return Prompt(
        record=record, text=rendered, collapsed_ids=collapsed, ids=expanded.ids, grids=expanded.grids, media=(clip,)
    )


def _in_own_process(variant: str, scratch: Path, *, tiny: bool) -> dict[str, float]:
    command = [sys.executable, "-m", "scripts.bench.policy_pass", "--variant", variant, "--scratch", str(scratch)]
    done = subprocess.run(
        [*command, *(["--tiny"] if tiny else [])],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout.splitlines()[-1])


def _differences(found: dict[str, Tensor], expected: dict[str, Tensor]) -> tuple[float, float]:
    """Largest absolute difference of log-probs, and of gradients in units of the largest gradient."""
    largest = {name: float((found[name] - tensor).abs().max()) for name, tensor in expected.items()}
    scale = max(float(tensor.abs().max()) for name, tensor in expected.items() if name != "logprobs")
    return largest.pop("logprobs"), max(largest.values()) / scale


def _resident() -> float:
    """MiB of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _peak() -> float:
    """MiB of this process at most, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    sys.exit(main())
