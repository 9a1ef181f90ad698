#!/usr/bin/env python
# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What training a model takes of each GPU's memory, before there is a GPU.

python scripts/estimate_memory.py --model Qwen/Qwen3-VL-8B-Instruct --gpus 8 --token-budget 57344

Anything after that is configuration, as for training: config=examples/video_rl/video_rl.yaml
worker.actor.optim.strategy=adamw_8bit
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from verl.config.load import load
from verl.config.trainer import Config
from verl.errors import VerlError
from verl.fsdp.memory import Memory, MemoryPlan, estimate
from verl.models.adapter import load_adapter, local_folder

DONE, WRONG = 0, 2
GIB = 1 << 30


def main(argv: Sequence[str] | None = None) -> int:
    """0: a table was printed; 2: bad flags, configuration or model."""
    flags = parser().parse_args(argv)
    try:
        config = load(flags.settings)
        plan = plan_of(config, flags)
        print("\n".join(table(estimate(load_adapter(local_folder(flags.model, "--model")), plan), plan)))
    except VerlError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG
    return DONE


def parser() -> argparse.ArgumentParser:
    """All flags."""
    flags = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    flags.add_argument("--model", required=True, help="folder, or name in the Hugging Face cache; weights are not read")
    flags.add_argument("--gpus", type=_at_least(1), required=True, help="all of the training")
    flags.add_argument("--token-budget", type=_at_least(1), required=True, help="worker.actor.max_token_len_per_gpu")
    flags.add_argument(
        "--visual-tokens", type=_at_least(0), help="features of clips and images among them; default: all"
    )
    flags.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="a CPU keeps all in float32")
    flags.add_argument("settings", nargs="*", metavar="key=value", help="configuration: worker.actor.* counts")
    return flags


def _at_least(least: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if (number := int(text)) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return number

    return count


def plan_of(config: Config, flags: argparse.Namespace) -> MemoryPlan:
    """The actor's part of a configuration."""
    actor = config.worker.actor
    size = actor.fsdp.fsdp_size
    return MemoryPlan(
        model=actor.model,
        fsdp=actor.fsdp,
        optim=actor.optim,
        num_shards=min(size, flags.gpus) if size >= 1 else flags.gpus,
        token_budget=flags.token_budget,
        visual_tokens=flags.token_budget if flags.visual_tokens is None else flags.visual_tokens,
        device=flags.device,
    )


def table(found: Memory, plan: MemoryPlan) -> list[str]:
    """A headline and a line for each part."""
    trained = f"{found.num_trained / 1e9:.2f} of {found.num_weights / 1e9:.2f} billion weights trained"
    head = f"GiB of each process: {trained}, a copy over {plan.num_shards}, {plan.token_budget} tokens a pass"
    parts = [
        ("weights", found.weights),
        ("gradients", found.gradients),
        ("optimizer state", found.optimizer),
        ("gathered blocks and their gradients", found.gathered),
        ("activations kept", found.activations),
        ("a block recomputed", found.recomputed),
        ("a chunk of logits", found.logits),
        ("of these in host memory", found.on_host),
        ("all together, at most", found.total),
    ]
    lines = [f"{name:<36}{size / GIB:>10.2f}" for name, size in parts]
    return [head, *lines, f"{'KV cache of an engine, per token':<36}{found.kv_cache_per_token / 1024:>10.1f} KiB"]


if __name__ == "__main__":
    sys.exit(main())
