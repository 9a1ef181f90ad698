# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Cached clips against what the model families' own processors make of the whole video (transformers 5.19)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import AutoProcessor
from transformers.models.qwen2_vl import video_processing_qwen2_vl as qwen2
from transformers.models.qwen3_vl import video_processing_qwen3_vl as qwen3
from transformers.video_utils import VideoMetadata as HfMetadata

from tests.videos import VideoRecipe, numbered_video
from tests.world import tiny_model
from verl.errors import MediaError
from verl.media.decode import decode
from verl.media.spec import plan_frames, plan_size
from verl.models.adapter import load_adapter
from verl.types import VideoMetadata, VideoSpec

QWEN3 = VideoSpec(fps=2.0, max_frames=768, min_pixels=4096, max_pixels=400_000, align=32, sampler="hf_qwen3")
QWEN2 = VideoSpec(fps=2.0, max_frames=768, min_pixels=4096, max_pixels=40_000, align=28, sampler="hf_qwen2")
FAMILIES = {"hf_qwen3": QWEN3, "hf_qwen2": QWEN2}

UNEVEN = tuple(index / 30 + (index // 7) * 0.4 for index in range(60))
VIDEOS = {
    "plain.mp4": VideoRecipe(num_frames=90, width=160, height=96),
    "odd_count.mp4": VideoRecipe(num_frames=83, width=176, height=144),  # 5 frames for Qwen3-VL
    "odd_size.mp4": VideoRecipe(width=97, height=73),
    "portrait.mp4": VideoRecipe(width=96, height=224),
    "turned.mp4": VideoRecipe(rotation=90, width=96, height=160),
    "uneven.mp4": VideoRecipe(times=UNEVEN),
    "slow.mp4": VideoRecipe(num_frames=21, fps=1),
    "fast.mkv": VideoRecipe(num_frames=181, fps=60),
    "shorter_than_min_frames.mp4": VideoRecipe(num_frames=3),
    "two_frames.mp4": VideoRecipe(num_frames=2),
    "strip.mp4": VideoRecipe(width=48, height=1024),
    "large.mp4": VideoRecipe(num_frames=30, width=640, height=480),
    "ten_bits.mp4": VideoRecipe(codec="libx265", pixel_format="yuv420p10le", options={"x265-params": "log-level=none"}),
}


def processor_of(spec: VideoSpec, **more: Any) -> Any:
    """The family's processor under the same numbers."""
    kind = {"hf_qwen3": qwen3.Qwen3VLVideoProcessor, "hf_qwen2": qwen2.Qwen2VLVideoProcessor}[spec.sampler]
    size = {"shortest_edge": spec.min_pixels, "longest_edge": spec.max_pixels}
    limits = {"min_frames": spec.min_frames, "max_frames": spec.max_frames}
    return kind(size=size, fps=spec.fps, do_sample_frames=True, **limits, **{"cap_pixels_per_frame": False} | more)


def whole(path: str) -> tuple[torch.Tensor, float]:
    """Every frame, upright, and frames per second; read without any of our code."""
    with av.open(path) as container:
        frames = list(container.decode(video=0))
        rate = container.streams.video[0].average_rate
    turns = round(frames[0].rotation / 90)
    images = [np.rot90(frame.to_ndarray(format="rgb24"), turns) for frame in frames]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), float(rate)


def theirs(processor: Any, path: str, recipe: VideoRecipe, **more: Any) -> Any:
    video, rate = whole(path)
    if recipe.times is not None:
        rate = (len(video) - 1) / recipe.times[-1]
    return processor(
        videos=[video],
        video_metadata=[HfMetadata(total_num_frames=len(video), fps=rate, duration=len(video) / rate)],
        return_tensors="pt",
        **more,
    )


def as_told(metadata: VideoMetadata) -> HfMetadata:
    return HfMetadata(
        total_num_frames=metadata.total_frames,
        fps=metadata.source_fps,
        duration=metadata.duration,
        frames_indices=list(metadata.frame_indices),
    )


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize("family", FAMILIES)
def test_cached_frames_make_the_patches_of_the_whole_video(tmp_path, family, name):
    path, spec = str(numbered_video(tmp_path / name, VIDEOS[name])), FAMILIES[family]
    processor = processor_of(spec)
    clip = decode(path, spec)
    expected = theirs(processor, path, VIDEOS[name], return_metadata=True)
    frames = torch.from_numpy(clip.frames)
    ours = processor([frames], do_resize=False, do_sample_frames=False, return_tensors="pt")
    assert [list(clip.metadata.frame_indices)] == [list(m.frames_indices) for m in expected["video_metadata"]]
    assert torch.equal(ours["video_grid_thw"], expected["video_grid_thw"])
    assert torch.equal(ours["pixel_values_videos"], expected["pixel_values_videos"])
    (told,) = expected["video_metadata"]
    assert clip.metadata.sampled_fps == pytest.approx(told.sampled_fps, rel=1e-6)  # Qwen2.5-VL's seconds per patch


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tiny_model(tmp_path_factory.mktemp("qwen3_vl"))
    return load_adapter(str(folder)), AutoProcessor.from_pretrained(folder, local_files_only=True)


@pytest.mark.parametrize("name", VIDEOS)
def test_metadata_alone_make_the_tokens_of_the_whole_video(tmp_path, tiny, name):
    adapter, processor = tiny
    path, recipe = str(numbered_video(tmp_path / name, VIDEOS[name])), VIDEOS[name]
    processor.video_processor = processor_of(QWEN3)
    text = adapter.render("<video> What is it?", 1)
    expected = theirs(processor, path, recipe, text=[text])
    ours = adapter.expand(adapter.encode(text), [decode(path, QWEN3).metadata])
    assert ours.ids.tolist() == expected["input_ids"][0].tolist()
    assert [list(grid) for grid in ours.grids] == expected["video_grid_thw"].tolist()


def test_one_frame_which_they_refuse_is_one_moment_here(tmp_path, tiny):
    adapter, _ = tiny
    path = str(numbered_video(tmp_path / "a.mp4", VideoRecipe(num_frames=1)))
    for spec in FAMILIES.values():
        with pytest.raises((ValueError, ZeroDivisionError)):
            theirs(processor_of(spec), path, VideoRecipe(num_frames=1))
        clip = decode(path, spec)
        assert clip.metadata.frame_indices == (0,)
        twice = replace(clip.metadata, frame_indices=(0, 0), timestamps=(0.0, 0.0))
        frames = [torch.from_numpy(np.concatenate([clip.frames] * count)) for count in (1, 2)]
        once, doubled = (
            processor_of(spec)([each], do_resize=False, do_sample_frames=False, return_tensors="pt") for each in frames
        )
        assert torch.equal(once["pixel_values_videos"], doubled["pixel_values_videos"])
        assert torch.equal(once["video_grid_thw"], doubled["video_grid_thw"])
    text = adapter.encode(adapter.render("<video>?", 1))
    clip = decode(path, QWEN3).metadata
    twice = replace(clip, frame_indices=(0, 0), timestamps=(0.0, 0.0))
    assert adapter.expand(text, [clip]).ids.tolist() == adapter.expand(text, [twice]).ids.tolist()


def test_the_family_resizes_as_the_reference_rule_does_when_told_its_size(video, spec):
    clip = decode(str(video), spec)
    full_size = whole(str(video))[0][list(clip.metadata.frame_indices)]
    assert full_size.shape[-2:] != clip.frames.shape[-2:]
    count = len(full_size)
    processor = qwen3.Qwen3VLVideoProcessor(
        size={"shortest_edge": spec.min_pixels * count, "longest_edge": spec.max_pixels * count}
    )
    options = {"do_sample_frames": False, "do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
    expected = processor([full_size], do_resize=True, **options)
    ours = processor([torch.from_numpy(clip.frames)], do_resize=False, **options)
    assert torch.equal(expected["video_grid_thw"], ours["video_grid_thw"])
    assert torch.equal(expected["pixel_values_videos"], ours["pixel_values_videos"])


def sampled(spec: VideoSpec, total: int, fps: float) -> NDArray[np.int64] | None:
    """Indices that the family's processor draws, None where it refuses."""
    try:
        return np.asarray(processor_of(spec).sample_frames(HfMetadata(total_num_frames=total, fps=fps)))
    except (ValueError, ZeroDivisionError, RuntimeError):
        return None


lengths = st.one_of(st.integers(1, 300), st.integers(300, 400_000))
rates = st.one_of(st.sampled_from((1.0, 14.45, 23.976, 24000 / 1001, 25.0, 29.97, 30.0, 60.0)), st.floats(0.5, 240))


@given(
    family=st.sampled_from(sorted(FAMILIES)),
    total=lengths,
    fps=rates,
    wanted=st.sampled_from((0.5, 1.0, 2.0, 4.0, 30.0)),
    limits=st.tuples(st.integers(0, 12), st.integers(2, 768)),
)
@example(family="hf_qwen2", total=215_784, fps=30.0, wanted=30.0, limits=(4, 758))  # float32 in their counting
@example(family="hf_qwen3", total=899, fps=29.97, wanted=2.0, limits=(4, 768))  # an odd number
def test_the_same_frames_are_drawn_from_every_length(family, total, fps, wanted, limits):
    spec = replace(FAMILIES[family], fps=wanted, min_frames=limits[0], max_frames=limits[1])
    expected = sampled(spec, total, fps)
    if total == 1:
        assert plan_frames(spec, total, fps) == (0,)
        return
    if expected is None or len(expected) < 2:
        with pytest.raises(MediaError, match="too few"):
            plan_frames(spec, total, fps)
        return
    ours = plan_frames(spec, total, fps)
    if family == "hf_qwen2" and len(expected) % 2:  # they step over the end of the video, and fail there
        assert expected[-1] >= total - 1
        expected = expected[:-1]
    assert list(ours) == expected.tolist()


sides = st.integers(8, 2600)


@given(
    count=st.integers(2, 769),
    height=sides,
    width=sides,
    least=st.integers(1, 300_000),
    spare=st.integers(0, 40_000_000),
    align=st.sampled_from((28, 32)),
)
@example(count=5, height=640, width=480, least=1, spare=1_228_800, align=32)
@example(count=2, height=20, width=100, least=1, spare=1_000_000, align=32)  # enlarged first
def test_qwen3_sizes_are_theirs_wherever_they_keep_their_budget(count, height, width, least, spare, align):
    spec = replace(QWEN3, min_pixels=least, max_pixels=least + spare, align=align)
    limits = {"min_pixels": spec.min_pixels, "max_pixels": spec.max_pixels}
    try:
        expected = qwen3.smart_resize(count, height, width, factor=align, **limits)
    except ValueError:
        with pytest.raises(MediaError, match="aspect ratio"):
            plan_size(spec, count, height, width)
        return
    counted = min(count, round(count / 2) * 2)
    check_against(expected, spec, (count, height, width), spec.max_pixels / counted)


@given(
    count=st.integers(2, 768),
    height=sides,
    width=sides,
    least=st.integers(1, 300_000),
    spare=st.integers(0, 4_000_000),
    tokens=st.none() | st.integers(1000, 200_000),
)
@example(count=138, height=100, width=122, least=10_000, spare=0, tokens=1000)  # 1.05 times the least is the most
@example(count=2, height=19, width=205, least=278, spare=0, tokens=1000)
def test_qwen2_sizes_are_theirs_wherever_they_keep_their_budget(count, height, width, least, spare, tokens):
    total = None if tokens is None else int(tokens * 28 * 28 * 0.9)
    spec = replace(QWEN2, min_pixels=least, max_pixels=least + spare, total_pixels=total)
    most = spec.max_pixels
    if total is not None:
        most = max(min(most, total * 2 // count), int(least * 1.05))
    try:
        expected = qwen2.smart_resize(height, width, factor=28, min_pixels=least, max_pixels=most)
    except ValueError:
        with pytest.raises(MediaError, match="aspect ratio"):
            plan_size(spec, count, height, width)
        return
    check_against(expected, spec, (count, height, width), math.inf if total is None else total * 2 // count)


def check_against(expected: tuple[int, int], spec: VideoSpec, video: tuple[int, int, int], share: float) -> None:
    """Their size if it fits into `share` pixels a frame, else a smaller one or an error that says so."""
    try:
        ours = plan_size(spec, *video)
    except MediaError as error:
        assert "budget" in str(error)
        assert spec.align**2 > share
        return
    assert math.prod(ours) <= share
    if math.prod(expected) <= share:
        assert ours == expected


def test_qwen2_sizes_under_a_total_are_those_of_their_cap():
    """The total in the test above is the one that the processor derives from its `max_video_tokens`."""
    frames = torch.zeros(40, 3, 120, 160, dtype=torch.uint8)
    processor = processor_of(QWEN2, cap_pixels_per_frame=True, max_video_tokens=200)
    grid = processor([frames], do_sample_frames=False, return_tensors="pt")["video_grid_thw"][0].tolist()
    spec = replace(QWEN2, total_pixels=int(200 * 28 * 28 * 0.9))
    assert [side * 14 for side in grid[1:]] == list(plan_size(spec, 40, 120, 160))
    assert plan_size(spec, 40, 120, 160) != plan_size(QWEN2, 40, 120, 160)
