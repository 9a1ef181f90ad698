# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The flags of a run, as values."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.benchmark import BENCHMARKS, STYLES
from eval.engines import SILENCE_SECONDS, EngineSettings
from eval.options import RunOptions, Shard, longest
from eval.pipeline import Limits
from verl.config.judge import JudgeConfig
from verl.errors import ConfigError
from verl.models.adapter import local_folder
from verl.registry import nearest

GIB = 1 << 30
JUDGE_SECONDS = 180.0  # for one reply, which may be a few thousand tokens


def whole(text: str) -> int:
    """A flag's number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def above_zero(text: str) -> float:
    """A flag's number above 0. Raises ValueError."""
    if not 0 < (number := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def from_zero(text: str) -> float:
    """A flag's number from 0 on. Raises ValueError."""
    return 0.0 if float(text) == 0 else above_zero(text)


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Everything `python -m eval run` understands."""
    what = parser.add_argument_group("what is asked")
    what.add_argument("--model", required=True, help="a Hugging Face folder, or a name that its cache holds")
    what.add_argument("--benchmarks", required=True, help="names with commas between them, or file.py:NAME of your own")
    what.add_argument("--data_root", type=Path, default=Path("data/eval"), help="holds <benchmark>/annotations, videos")
    what.add_argument("--annotations", action="append", default=[], metavar="NAME=PATH", help="somewhere else")
    what.add_argument("--videos", action="append", default=[], metavar="NAME=DIR", help="somewhere else")
    what.add_argument("--style", choices=STYLES, default="official", help="how it is asked")
    what.add_argument("--limit", type=whole, help="only the first items of each benchmark")
    what.add_argument("--blind", action="store_true", help="leave the videos out: what the text alone gives away")
    what.add_argument("--shard", default="1/1", metavar="i/n", help="only this part, to be merged")
    what.add_argument("--retry_failed", action="store_true", help="ask again what failed in an earlier start")
    where = parser.add_argument_group("where things go")
    where.add_argument("--output_dir", type=Path, default=Path("outputs/eval"))
    where.add_argument("--cache_dir", type=Path, default=Path("outputs/video_cache"))
    where.add_argument("--no_report", action="store_true", help="leave reports to a later `python -m eval report`")
    add_seeing_flags(parser.add_argument_group("what the model sees; unset: what the benchmark asks for"))
    _add_sampling(parser.add_argument_group("how it answers; greedy unless told otherwise"))
    _add_judge(parser.add_argument_group("the judge of free answers; without one they stay open, and count as wrong"))
    _add_engine(parser.add_argument_group("the engine"))


def add_seeing_flags(group: Any) -> None:
    """The frame budget."""
    group.add_argument("--fps", type=above_zero)
    group.add_argument("--max_frames", type=whole)
    group.add_argument("--max_pixels", type=whole, help="of one frame")
    group.add_argument("--total_pixels", type=whole, help="of all frames")
    group.add_argument("--sampler", default="qwen_utils", help="rule for frames and sizes")


def _add_sampling(group: Any) -> None:
    group.add_argument("--temperature", type=float)
    group.add_argument("--top_p", type=float)
    group.add_argument("--top_k", type=int)
    group.add_argument("--presence_penalty", type=float)
    group.add_argument("--repetition_penalty", type=float)
    group.add_argument("--max_tokens", type=int)
    group.add_argument("--seed", type=int)


def _add_judge(group: Any) -> None:
    group.add_argument("--judge_url", help="an OpenAI-compatible endpoint, such as http://localhost:8000/v1")
    group.add_argument("--judge_model", help="the model's name there")
    group.add_argument("--judge_api_key_env", help="environment variable that holds the key")
    group.add_argument("--judge_cache_dir", type=Path, default=Path("outputs/judge_cache"), help="keeps verdicts")
    group.add_argument("--judge_workers", type=whole, default=8, help="requests to it at once")
    group.add_argument(
        "--judge_timeout",
        type=above_zero,
        default=JUDGE_SECONDS,
        help="seconds for a reply; 4 times that in all",
    )


def _add_engine(group: Any) -> None:
    default = EngineSettings()
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    group.add_argument(
        "--engines", type=whole, default=1, help="processes on this machine, each with devices of its own"
    )
    group.add_argument("--dtype", help="bfloat16; float32 on a CPU")
    group.add_argument(
        "--max_model_len", type=whole, help="prompt and response; default: what the model allows, to 65536"
    )
    group.add_argument("--max_num_seqs", type=whole, default=default.max_num_seqs)
    group.add_argument("--max_num_batched_tokens", type=whole, default=default.max_num_batched_tokens)
    group.add_argument("--tensor_parallel_size", type=whole, default=1)
    group.add_argument("--gpu_memory_utilization", type=float, default=default.gpu_memory_utilization)
    group.add_argument("--kv_cache_memory_mb", type=whole)
    group.add_argument("--enforce_eager", action="store_true")
    group.add_argument("--trust_remote_code", action="store_true")
    group.add_argument(
        "--silence_timeout",
        type=from_zero,
        default=SILENCE_SECONDS,
        help="seconds without a token for any question, after which the engine is started anew; 0: never",
    )
    group.add_argument("--pixel_gb", type=above_zero, default=16.0, help="pixels on their way to the engine at once")
    group.add_argument("--load_workers", type=whole, default=16, help="threads that read frames")
    group.add_argument("--decode_workers", type=whole, default=8, help="processes that fill the cache")


def run_options(given: argparse.Namespace) -> RunOptions:
    """The flags as options. Raises ConfigError."""
    device, benchmarks = _device(given.device), names(given.benchmarks)
    model = local_folder(given.model, "--model")
    return RunOptions(
        model=model,
        benchmarks=benchmarks,
        data_root=given.data_root,
        output_dir=given.output_dir,
        cache_dir=given.cache_dir.absolute(),
        style=given.style,
        annotations=_paths("--annotations", given.annotations, benchmarks),
        media=_paths("--videos", given.videos, benchmarks),
        budget=given_flags(given, "fps", "max_frames", "max_pixels", "total_pixels"),
        sampling=given_flags(
            given, "temperature", "top_p", "top_k", "presence_penalty", "repetition_penalty", "max_tokens", "seed"
        ),
        engine=EngineSettings(
            device=device,
            dtype=given.dtype or ("float32" if device == "cpu" else "bfloat16"),
            max_model_len=given.max_model_len or longest(model),
            **given_flags(
                given,
                "max_num_seqs",
                "max_num_batched_tokens",
                "tensor_parallel_size",
                "gpu_memory_utilization",
                "kv_cache_memory_mb",
                "enforce_eager",
                "trust_remote_code",
            ),
        ),
        limits=Limits(
            pixel_bytes=int(given.pixel_gb * GIB),
            load_workers=given.load_workers,
            decode_workers=given.decode_workers,
            judge_workers=given.judge_workers,
        ),
        shard=Shard.parse(given.shard),
        limit=given.limit,
        blind=given.blind,
        retry_failed=given.retry_failed,
        sampler=given.sampler,
        silence_seconds=given.silence_timeout,
    )


def judge_config(given: argparse.Namespace) -> JudgeConfig | None:
    """The judge, if one was named. Raises ConfigError for half of its name."""
    if (given.judge_url is None) != (given.judge_model is None):
        raise ConfigError("a judge takes both --judge_url and --judge_model")
    if given.judge_url is None:
        return None
    return JudgeConfig(
        base_url=given.judge_url,
        model=given.judge_model,
        api_key_env=given.judge_api_key_env,
        max_concurrency=given.judge_workers,
        timeout_seconds=given.judge_timeout,
        deadline_seconds=4 * given.judge_timeout,
        cache_dir=str(given.judge_cache_dir),
    )


def names(text: str) -> tuple[str, ...]:
    """Benchmarks by name, each once. Raises ConfigError for one that does not exist."""
    from eval.runner import check_names

    found = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    check_names(found)
    return found


def given_flags(given: argparse.Namespace, *fields: str) -> dict[str, Any]:
    """The flags that were set."""
    return {name: getattr(given, name) for name in fields if getattr(given, name) is not None}


def _paths(flag: str, pairs: Sequence[str], benchmarks: Sequence[str]) -> dict[str, Path]:
    asked = [BENCHMARKS.resolve(name) for name in benchmarks]
    known = {one.name for one in asked} | {one.folder or one.name for one in asked}
    found = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not (name and equals and path):
            raise ConfigError(f"{flag} {pair!r}: write NAME=PATH")
        if name not in known:
            raise ConfigError(f"{flag} {pair!r}: no such benchmark is asked{nearest(name, known)}")
        found[name] = Path(path)
    return found


def _device(wanted: str) -> str:
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda, but torch sees no CUDA device here; use cpu or auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
