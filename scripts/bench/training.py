# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Three GRPO steps of a random Qwen3-VL, and what they cost.

    python -m scripts.bench.training [--size 2B | --tiny] [--gpus N] [key=value ...]

Videos and model are made in code, then `python -m verl.trainer.main` runs as for anyone: on GPUs in bf16, with engines
on the policy's devices that sleep while it trains and get weights over CUDA IPC; with `--tiny` on a CPU in float32. The
table is read from the run's own metrics, which docs/metrics.md explains. Further arguments are configuration. A 2B
needs 20 GB of disk, for the model and the checkpoint that every run ends with.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from examples.quickstart.make_model import build_tiny_qwen3_vl
from examples.quickstart.make_videos import Recipe, write_dataset
from verl.models.adapter import override
from verl.tracking.curve import read_log

CONFIG = "examples/quickstart/quickstart.yaml"
OUTPUT = Path("outputs/training_bench")
STEPS = 3
TEXT: dict[str, Any] = {  # of all sizes; ids that the tiny tokenizer does not have are decoded to nothing
    "vocab_size": 151_936,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "initializer_range": 0.02,
    "max_position_embeddings": 262_144,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 5e6,
        "mrope_section": [24, 20, 20],
        "mrope_interleaved": True,
    },
}
VISION: dict[str, Any] = {"num_heads": 16, "num_position_embeddings": 2304, "initializer_range": 0.02}
SMALL_TOWER: dict[str, Any] = VISION | {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "deepstack_visual_indexes": [5, 11, 17],
}
LARGE_TOWER: dict[str, Any] = VISION | {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "deepstack_visual_indexes": [8, 16, 24],
}
# Those of the published models: hidden size, width of the perceptrons, layers, heads, tower, head tied to embedding.
SIZES: Mapping[str, tuple[int, int, int, int, dict[str, Any], bool]] = {
    "2B": (2048, 6144, 28, 16, SMALL_TOWER, True),
    "4B": (2560, 9728, 36, 32, SMALL_TOWER, True),
    "8B": (4096, 12_288, 36, 32, LARGE_TOWER, False),
}
EVERYWHERE = {
    "data.val_files": "[]",
    "data.video_source_mode": "prefer_preprocessed",
    "worker.reward.reward_function": "scripts/bench/coin_reward.py:score",
    "worker.rollout.ignore_eos": "true",  # every response has the full length
    "trainer.max_steps": str(STEPS),
    "trainer.val_before_train": "false",
    "trainer.val_freq": "-1",
    "trainer.find_last_checkpoint": "false",
    "trainer.save_model_only": "true",
    "trainer.logger": "[console,file]",
}
ON_GPUS = {
    "data.video_fps": "4",
    "data.video_max_frames": "16",
    "data.video_min_pixels": "262144",  # 512 x 512: 2,048 tokens for a video
    "data.video_max_pixels": "262144",
    "data.max_prompt_length": "4096",
    "data.max_response_length": "512",
    "data.rollout_batch_size": "32",
    "worker.actor.global_batch_size": "32",
    "worker.actor.max_token_len_per_gpu": "16384",
    "worker.actor.model.enable_gradient_checkpointing": "true",
    "worker.actor.optim.lr": "1.0e-6",
    "worker.actor.fsdp.mp_param_dtype": "bf16",
    "worker.rollout.n": "8",
    "worker.rollout.dtype": "bf16",
    "worker.rollout.max_num_batched_tokens": "16384",
    "worker.rollout.kv_cache_memory_mb": "null",
    "worker.rollout.weight_transfer": "ipc",
    "trainer.device": "cuda",
}
ON_A_CPU = {"data.rollout_batch_size": "4", "worker.actor.global_batch_size": "4", "worker.rollout.n": "4"}
FIGURES = {  # metric -> what it is called, and how it is written
    "rollout/logprob_gap_mean": ("log-prob gap, mean", ".1e"),
    "rollout/logprob_gap_max": ("log-prob gap, largest", ".1e"),
    "perf/memory_before_sleep_gb": ("GiB in use before engines sleep", ".1f"),
    "perf/memory_after_sleep_gb": ("GiB in use while they sleep", ".1f"),
    "perf/max_memory_allocated_gb": ("GiB that a policy rank allocated at most", ".1f"),
    "perf/cpu_memory_used_gb": ("GiB of host memory of a policy rank", ".1f"),
    "perf/throughput": ("tokens per second and device", ".0f"),
    "perf/mfu_actor": ("model-FLOPs utilisation of the update", ".3f"),
}
STAGE = "timing_s/"
UNKNOWN = "-"


def main(argv: Sequence[str] | None = None) -> int:
    """Make what is needed, train, print the table; the exit status of the training."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="2B", help="of the model that is made")
    parser.add_argument("--tiny", action="store_true", help="0.7 million parameters, on a CPU")
    parser.add_argument("--gpus", type=int, default=torch.cuda.device_count(), help="policy ranks; default: all GPUs")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="configuration, as for verl.trainer.main")
    given = parser.parse_args(argv)
    if not given.tiny and given.gpus < 1:
        parser.error("there is no GPU here; --tiny runs on a CPU")
    folder = OUTPUT / ("tiny" if given.tiny else given.size)
    shutil.rmtree(folder / "run", ignore_errors=True)
    write_dataset(folder / "data", Recipe(kinds={"colour": 1.0}, train=128, val=1))
    make_model(folder / "model", None if given.tiny else given.size)
    command = [sys.executable, "-m", "verl.trainer.main", f"config={CONFIG}"]
    settings = [f"{key}={value}" for key, value in settings_of(folder, 0 if given.tiny else given.gpus).items()]
    status = subprocess.run(
        [*command, *settings, *given.settings],
        env={"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **os.environ},
        check=False,
    ).returncode
    if status == 0:
        print("\n".join(report(read_log(folder / "run" / "experiment_log.jsonl"))))
    return status


def settings_of(folder: Path, gpus: int) -> dict[str, str]:
    """What differs from CONFIG. Without GPUs, on a CPU."""
    own = {
        "data.train_files": f"[{folder / 'data' / 'train.jsonl'}]",
        "data.video_dir": str(folder / "data"),
        "data.preprocessed_video_dir": str(folder / "cache"),
        "worker.actor.model.model_path": str(folder / "model"),
        "trainer.save_checkpoint_path": str(folder / "run"),
    }
    return EVERYWHERE | (ON_GPUS | {"trainer.n_gpus_per_node": str(gpus)} if gpus else ON_A_CPU) | own


def make_model(folder: Path, size: str | None) -> None:
    """A random Qwen3-VL in bf16, or the tiny one in float32, with tokenizer and processors of the tiny one."""
    build_tiny_qwen3_vl(folder, tied=size is not None and SIZES[size][-1])
    if size is None:
        return
    config = override(AutoConfig.from_pretrained(folder), sizes_of(*SIZES[size][:-1]))
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)


def sizes_of(hidden: int, inner: int, layers: int, heads: int, tower: Mapping[str, Any]) -> dict[str, Any]:
    """What replaces the numbers in the tiny model's config."""
    shape = {"hidden_size": hidden, "intermediate_size": inner}
    return {
        "text_config": TEXT | shape | {"num_hidden_layers": layers, "num_attention_heads": heads},
        "vision_config": {**tower, "out_hidden_size": hidden},
    }


def report(log: Mapping[int, Mapping[str, float]]) -> list[str]:
    """Lines of a table: a column for each training step, a row for each figure and each stage's seconds."""
    steps = {number: row for number, row in log.items() if f"{STAGE}step" in row}
    stages = dict.fromkeys(name for row in steps.values() for name in row if name.startswith(STAGE))
    rows = {**FIGURES, **{name: (f"seconds: {name.removeprefix(STAGE)}", ".2f") for name in stages}}
    lines = [f"| step | {' | '.join(map(str, steps))} |", "|---" * (1 + len(steps)) + "|"]
    for name, (title, form) in rows.items():
        cells = [format(row[name], form) if name in row else UNKNOWN for row in steps.values()]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
