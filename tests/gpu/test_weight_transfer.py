# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The CUDA backends and CUDA sleep, in bfloat16. tests/integration/test_rollout_engine.py is their twin on a CPU.

Written against vLLM 0.32's API and not yet run on a GPU: the tolerances are expectations, not measurements.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.live_engine import LiveServer, ModuleWeights, Reference, make_prompt
from tests.world import tiny_model, tiny_video
from verl.media.source import MediaSource, SourceMode, load
from verl.models.adapter import load_adapter
from verl.rollout.engine import SamplingPlan
from verl.rollout.environment import engine_environment
from verl.rollout.options import EngineOptions, TransferSettings
from verl.types import Prompt, Trajectory, VideoSpec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

PLAN = SamplingPlan(n=8, temperature=1.0, max_tokens=32, seed=1)
CLOSE = 0.05  # mean log-prob gap between two bfloat16 implementations


@contextmanager
def engine(directory: Path, backend: str) -> Iterator[tuple[LiveServer, list[Prompt]]]:
    model = str(tiny_model(directory / "model", tied=True))
    adapter = load_adapter(model)
    spec = VideoSpec(fps=2.0, max_frames=8, min_pixels=32 * 32, max_pixels=64 * 64, align=adapter.align)
    source = MediaSource(SourceMode.PREFER_PREPROCESSED, directory / "cache", spec)
    ref = source.ref(str(tiny_video(directory / "video.mp4")))
    prompts = [make_prompt(adapter, "What is two and two?"), make_prompt(adapter, "<video>What colour?", (ref,))]
    options = EngineOptions(
        model_path=model,
        max_model_len=512,
        device="cuda",
        weight_transfer=backend,
        colocated=backend == "ipc",
        gpu_memory_utilization=0.3,
        enforce_eager=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine_environment("cuda", backend).items():
            patch.setenv(name, value)
        live = LiveServer(options)
        try:
            yield live, prompts
        finally:
            live.close()


def gap(reference: Reference, rows: list[Trajectory]) -> float:
    """Mean difference between the engine's and transformers' log-probs."""
    clips = {ref.key: load(ref) for row in rows for ref in row.prompt.media}
    gaps = [np.abs(reference.logprobs(row, PLAN.temperature, clips) - row.rollout_logprobs) for row in rows]
    return float(np.concatenate(gaps).mean())


def update_and_compare(
    live: LiveServer, prompts: list[Prompt], reference: Reference, settings: TransferSettings
) -> None:
    """Change the reference, see the engine disagree, send, see it agree: twice, as the second uses the same buffers."""
    from verl.rollout.transfer import make_sender

    sender = make_sender(settings, [live], ModuleWeights(reference.model))
    assert gap(reference, live.generate(prompts, PLAN)) < CLOSE
    for version in (1, 2):
        reference.perturb(0.05, seed=version)
        assert gap(reference, live.generate(prompts, PLAN)) > 3 * CLOSE
        live.run(live.server.sleep())
        live.run(live.server.wake_weights())
        sender.send(version)
        live.run(live.server.wake_cache())
        rows = live.generate(prompts, PLAN)
        assert gap(reference, rows) < CLOSE
        assert {row.weight_version for row in rows} == {version}
    sender.close()


def test_ipc_renews_an_engine_on_the_same_gpu(tmp_path: Path) -> None:
    with engine(tmp_path, "ipc") as (live, prompts):
        reference = Reference(live.server.options.model_path, "cuda", torch.bfloat16)
        settings = TransferSettings(backend="ipc", rank=0, wire_dtype="bfloat16", bucket_bytes=1 << 20)
        update_and_compare(live, prompts, reference, settings)


def test_sleep_gives_gpu_memory_back_and_waking_keeps_the_weights(tmp_path: Path) -> None:
    with engine(tmp_path, "ipc") as (live, prompts):
        reference = Reference(live.server.options.model_path, "cuda", torch.bfloat16)
        awake = torch.cuda.mem_get_info()[0]
        slept = live.run(live.server.sleep(keep_weights=True))
        given_back = torch.cuda.mem_get_info()[0] - awake
        assert given_back > 1 << 30
        assert abs(slept.before - slept.after - given_back) < 1 << 28
        live.run(live.server.wake_weights())
        live.run(live.server.wake_cache())
        assert gap(reference, live.generate(prompts, PLAN)) < CLOSE


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_nccl_renews_an_engine_on_another_gpu(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with engine(tmp_path, "nccl") as (live, prompts), torch.cuda.device(1):
        reference = Reference(live.server.options.model_path, "cuda:1", torch.bfloat16)
        settings = TransferSettings(
            backend="nccl", rank=0, wire_dtype="bfloat16", master_address="127.0.0.1", master_port=port
        )
        update_and_compare(live, prompts, reference, settings)
