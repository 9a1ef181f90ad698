# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Families besides Qwen3-VL in a real vLLM engine on the CPU: one start each, the trainer's numbers against its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.live_engine import LiveServer, ModuleWeights, make_prompt
from tests.policy_world import FAR, MemoryReader
from tests.world import tiny_image, tiny_model, tiny_video
from verl.fsdp.forward import token_logprobs
from verl.fsdp.packing import Packer
from verl.fsdp.patches import PatchCache
from verl.fsdp.sampling import Sampling
from verl.media.image import ImageSource
from verl.media.source import MediaSource, SourceMode, load
from verl.models.adapter import ModelAdapter, load_adapter
from verl.rollout.engine import SamplingPlan
from verl.rollout.environment import engine_environment
from verl.rollout.options import EngineOptions, TransferSettings
from verl.types import ImageSpec, Prompt, Trajectory, VideoSpec

pytestmark = pytest.mark.cluster

FAMILIES = {"qwen2_vl": True, "qwen2_5_vl": False}  # whether the output head is the input embedding
PLAN = SamplingPlan(n=3, temperature=0.8, max_tokens=16, seed=7)
EXACT = 1e-5


def prompts(adapter: ModelAdapter, directory: Path) -> list[Prompt]:
    """Text; a video whose time reaches further than its sides; images and two videos, one of them an excerpt."""
    block = adapter.align**2
    sizes = {"min_pixels": block, "max_pixels": 6 * block}

    def video(name: str, **excerpt: float) -> MediaSource:
        spec = VideoSpec(fps=2.0, max_frames=12, align=adapter.align, sampler="hf_qwen2", **sizes, **excerpt)
        return MediaSource(SourceMode("realtime_only"), directory / name, spec)

    long = video("whole").ref(str(tiny_video(directory / "long.mp4", seed=1, num_frames=40)))
    part = video("part", start=1.0, end=3.0).ref(str(tiny_video(directory / "part.mp4", seed=2, num_frames=31, fps=7)))
    images = ImageSource(ImageSpec(align=adapter.align, **sizes))
    photo, banner = (images.ref(tiny_image(directory / f"{size[0]}.png", size)) for size in ((70, 90), (200, 40)))
    return [
        make_prompt(adapter, "What is two and two?"),
        make_prompt(adapter, "<video>What colour is it?", (long,)),
        make_prompt(adapter, "Is <image> in <video>, or <image> in <video>?", (photo, long, banner, part)),
    ]


def gap(adapter: ModelAdapter, model: torch.nn.Module, rows: list[Trajectory]) -> float:
    """Largest difference between the engine's log-probs and the trainer's, of a packed row with shared prompts."""
    reader = MemoryReader()
    reader.clips = {ref.key: load(ref) for row in rows for ref in row.prompt.media}  # type: ignore[misc]
    packer = Packer(adapter, PatchCache(reader, adapter, FAR))
    (bin_,) = packer.plan(rows, FAR)
    micro = packer.pack(rows, bin_)
    with torch.no_grad():
        hidden = adapter.hidden_states(model, micro.row)[micro.select]  # type: ignore[arg-type]
        found, _ = token_logprobs(hidden, adapter.head(model), micro.targets, Sampling(temperature=PLAN.temperature))  # type: ignore[arg-type]
    theirs = np.concatenate([rows[place].rollout_logprobs for place in micro.order])
    return float(np.abs(found.numpy() - theirs).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_engine_has_the_trainers_logprobs_before_and_after_new_weights(family: str, tmp_path: Path) -> None:
    """The engine's own ids are compared with ours for every row; see `check_expansion`."""
    folder = str(tiny_model(tmp_path / "model", family, tied=FAMILIES[family]))
    adapter = load_adapter(folder)
    model = adapter.build(torch.float32)
    asked = prompts(adapter, tmp_path)
    options = EngineOptions(
        model_path=folder,
        max_model_len=512,
        device="cpu",
        weight_transfer="shm",
        dtype="float32",
        max_num_seqs=16,
        max_videos=2,
        max_images=2,
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine_environment("cpu").items():
            patch.setenv(name, value)
        live = LiveServer(options)
        try:
            assert gap(adapter, model, live.generate(asked, PLAN)) < EXACT
            perturb(model)
            assert gap(adapter, model, live.generate(asked, PLAN)) > 1000 * EXACT
            publish(live, model)
            rows = live.generate(asked, PLAN)
            assert {row.weight_version for row in rows} == {1}
            assert gap(adapter, model, rows) < EXACT
        finally:
            live.close()


@torch.no_grad()
def perturb(model: torch.nn.Module) -> None:
    """Every weight: tower, embedding, biases."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter += torch.randn(parameter.shape, generator=generator) * 0.02


def publish(live: LiveServer, model: torch.nn.Module) -> None:
    from verl.rollout.transfer import make_sender

    settings = TransferSettings(backend="shm", rank=0, wire_dtype="float32", bucket_bytes=1 << 16)
    sender = make_sender(settings, [live], ModuleWeights(model))
    live.run(live.server.sleep())
    live.run(live.server.wake_weights())
    sender.send(1)
    live.run(live.server.wake_cache())
    sender.close()
