# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Families besides Qwen3-VL in a real vLLM engine on the CPU: one start each, the trainer's numbers against its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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

FAMILIES = {
    "qwen2_vl": True,
    "qwen2_5_vl": False,
    "qwen3_vl_moe": False,
}  # whether the output head is the input embedding
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
    """Largest difference between the engine's log-probs and the trainer's."""
    return float(differences(adapter, model, rows).max())


def differences(adapter: ModelAdapter, model: torch.nn.Module, rows: list[Trajectory]) -> np.ndarray:
    """Between the engine's log-probs and the trainer's, token by token."""
    found, order = logprobs(adapter, model, rows)
    return np.abs(found - np.concatenate([rows[place].rollout_logprobs for place in order]))


def logprobs(
    adapter: ModelAdapter, model: torch.nn.Module, rows: list[Trajectory]
) -> tuple[np.ndarray, tuple[int, ...]]:
    """The trainer's, of a packed row with shared prompts, and the order of rows in it."""
    reader = MemoryReader()
    reader.clips = {ref.key: load(ref) for row in rows for ref in row.prompt.media}  # type: ignore[misc]
    packer = Packer(adapter, PatchCache(reader, adapter, FAR))
    (bin_,) = packer.plan(rows, FAR)
    micro = packer.pack(rows, bin_)
    with torch.no_grad():
        hidden = adapter.hidden_states(model, micro.row)[micro.select]  # type: ignore[arg-type]
        found, _ = token_logprobs(hidden, adapter.head(model), micro.targets, Sampling(temperature=PLAN.temperature))  # type: ignore[arg-type]
    return found.numpy(), micro.order


@contextmanager
def engine(folder: str, dtype: str = "float32") -> Iterator[LiveServer]:
    options = EngineOptions(
        model_path=folder,
        max_model_len=512,
        device="cpu",
        weight_transfer="shm",
        dtype=dtype,
        max_num_seqs=16,
        max_videos=2,
        max_images=2,
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine_environment("cpu").items():
            patch.setenv(name, value)
        live = LiveServer(options)
        try:
            yield live
        finally:
            live.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_engine_has_the_trainers_logprobs_before_and_after_new_weights(family: str, tmp_path: Path) -> None:
    """The engine's own ids are compared with ours for every row; see `check_expansion`."""
    folder = str(tiny_model(tmp_path / "model", family, tied=FAMILIES[family]))
    adapter = load_adapter(folder)
    model = adapter.build(torch.float32)
    asked = prompts(adapter, tmp_path)
    with engine(folder) as live:
        assert gap(adapter, model, live.generate(asked, PLAN)) < EXACT
        perturb(model)
        assert gap(adapter, model, live.generate(asked, PLAN)) > 1000 * EXACT
        publish(live, adapter, model)
        rows = live.generate(asked, PLAN)
        assert {row.weight_version for row in rows} == {1}
        assert gap(adapter, model, rows) < EXACT


@pytest.mark.parametrize("family", ["qwen3_5", "qwen3_5_moe"])
def test_an_engine_in_bf16_is_no_further_away_than_the_trainer_in_bf16(family: str, tmp_path: Path) -> None:
    """On a CPU vLLM computes linear attention in bf16 alone, so that the yardstick is what bf16 does to the trainer.

    With experts both are further away: a token near a tie visits others.
    """
    folder = str(tiny_model(tmp_path / "model", family))
    adapter = load_adapter(folder)
    asked = prompts(adapter, tmp_path)
    exact, rounded = adapter.build(torch.float32), adapter.build(torch.bfloat16)
    exact.load_state_dict(rounded.state_dict())
    with engine(folder, "bfloat16") as live:
        for changed in (False, True):
            if changed:
                perturb(rounded)
                exact.load_state_dict(rounded.state_dict())
                stale = differences(adapter, exact, live.generate(asked, PLAN))
                publish(live, adapter, rounded)
            rows = live.generate(asked, PLAN)
            ours = differences(adapter, exact, rows)
            yardstick = np.abs(logprobs(adapter, exact, rows)[0] - logprobs(adapter, rounded, rows)[0])
            assert ours.mean() < 1.5 * yardstick.mean()
            assert ours.max() < 3 * yardstick.max()
        assert stale.mean() > 10 * ours.mean()


@torch.no_grad()
def perturb(model: torch.nn.Module) -> None:
    """Every weight: tower, embedding, biases."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter += (torch.randn(parameter.shape, generator=generator) * 0.02).to(parameter.dtype)


class PublishedWeights(ModuleWeights):
    """As `FullWeights` gives them to the sender."""

    def __init__(self, adapter: ModelAdapter, module: torch.nn.Module) -> None:
        super().__init__(module)
        self._adapter = adapter

    def metadata(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        return [(name, weight.dtype, tuple(weight.shape)) for name, weight in self]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield from ((name, self._adapter.as_published(name, weight.detach())) for name, weight in super().__iter__())


def publish(live: LiveServer, adapter: ModelAdapter, model: torch.nn.Module) -> None:
    from verl.rollout.transfer import make_sender

    wire = str(next(model.parameters()).dtype).removeprefix("torch.")
    settings = TransferSettings(backend="shm", rank=0, wire_dtype=wire, bucket_bytes=1 << 18)
    sender = make_sender(settings, [live], PublishedWeights(adapter, model))
    live.run(live.server.sleep())
    live.run(live.server.wake_weights())
    sender.send(1)
    live.run(live.server.wake_cache())
    sender.close()
