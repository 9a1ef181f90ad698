# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The data section: which rows, which videos, how they are read, and how many at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from verl.config.keys import key

SourceModeName = Literal["prefer_preprocessed", "preprocessed_only", "realtime_only"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Rows, media and prompts."""

    train_files: tuple[str, ...] = key(
        (), "JSON, JSONL or parquet files, folders of them, or datasets in the Hugging Face cache; @split picks by name"
    )
    mix_ratios: tuple[float, ...] = key(
        (), "share of each entry of train_files in what is drawn, at any scale; null = every row once in an epoch"
    )
    val_files: tuple[str, ...] = key((), "the same for validation; may be empty if nothing validates")
    prompt_key: str = key(
        "prompt", "column with the question; <video> and <image> are where media go, at the front if there are none"
    )
    answer_key: str = key("answer", "column with the ground truth")
    image_key: str = key("images", "column with image paths")
    video_key: str = key("videos", "column with video paths")
    options_key: str = key("options", "column with the options of a multiple-choice question")
    problem_type_key: str = key("problem_type", "column with the task type, which chooses the reward")
    image_dir: str | None = key(None, "root of relative image paths, and of videos without video_dir")
    video_dir: str | None = key(None, "root of relative video paths; null = image_dir")
    video_fps: float = key(2.0, "frames sampled per second of video")
    video_max_frames: int = key(128, "most frames of a video")
    video_min_frames: int = key(4, "fewest frames of a video")
    video_min_pixels: int | None = key(None, "fewest pixels of a frame; null = min_pixels")
    video_max_pixels: int | None = key(None, "most pixels of a frame; null = max_pixels")
    video_total_pixels: int | None = key(None, "most pixels of a whole video; null = the sampler's own limit")
    video_sampler: str = key("qwen_utils", "rule for frames and size: qwen_utils, hf_qwen3, hf_qwen2; file.py:name")
    video_decoder: str = key("pyav", "reader of video files: pyav, pyav_tolerant, decord, torchcodec; file.py:name")
    video_folder_fps: float | None = key(None, "frame rate of videos that are folders of numbered images")
    val_video_fps: float | None = key(None, "video_fps for validation; null = the same")
    val_video_max_frames: int | None = key(None, "video_max_frames for validation; null = the same")
    val_video_min_pixels: int | None = key(None, "video_min_pixels for validation; null = the same")
    val_video_max_pixels: int | None = key(None, "video_max_pixels for validation; null = the same")
    val_video_total_pixels: int | None = key(None, "video_total_pixels for validation; null = the same")
    image_min_pixels: int | None = key(None, "fewest pixels of an image; null = min_pixels")
    image_max_pixels: int | None = key(None, "most pixels of an image; null = max_pixels")
    val_image_min_pixels: int | None = key(None, "image_min_pixels for validation; null = the same")
    val_image_max_pixels: int | None = key(None, "image_max_pixels for validation; null = the same")
    min_pixels: int | None = key(262144, "fallback of video_min_pixels and image_min_pixels")
    max_pixels: int | None = key(4194304, "fallback of video_max_pixels and image_max_pixels")
    video_source_mode: SourceModeName = key(
        "prefer_preprocessed", "cached frames if there are any, only cached frames, or always the video file"
    )
    preprocessed_video_dir: str | None = key(None, "folder of the video cache; null = no cache")
    val_video_source_mode: SourceModeName | None = key(None, "mode for validation; null = the same")
    val_preprocessed_video_dir: str | None = key(None, "cache for validation; null = the same")
    max_prompt_length: int = key(512, "longest prompt, in tokens, video tokens included")
    max_response_length: int = key(512, "longest response, in tokens")
    filter_overlong_prompts: bool = key(True, "true: leave longer prompts out; false: refuse to start")
    filter_overlong_prompts_workers: int = key(16, "threads that measure prompts at the start")
    format_prompt: str | None = key(None, "Jinja file that words the prompt; null = built-in wording")
    override_chat_template: str | None = key(None, "file with a chat template in place of the model's")
    rollout_batch_size: int = key(512, "prompts per training step")
    mini_rollout_batch_size: int | None = key(None, "prompts drawn at a time while a step's batch is filled")
    val_batch_size: int = key(-1, "prompts per validation batch; -1 = all at once")
    shuffle: bool = key(True, "another order of rows each epoch; false: the order of the files")
    seed: int = key(1, "seed of that order")
    dataloader_workers: int = key(4, "threads that prepare prompts ahead")
