# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The table of prompts that every family goes through. Sizes are in the family's own blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from tests.unit.models.clips import Shape, clip, for_transformers
from verl.models.adapter import Expanded, ModelAdapter
from verl.types import ImageClip, ImageMetadata, MediaClip, VideoClip

# Frame rates are those of the source; every `stride`-th frame is kept.
EVEN = Shape(8, 2, 2, 30.0)
ODD = Shape(7, 2, 3, 29.97)
PORTRAIT = Shape(4, 3, 1, 23.976, stride=11)
STRIP = Shape(2, 1, 4, 20.0, stride=7)
SINGLE = Shape(1, 2, 2, 25.0)
SLOW = Shape(5, 2, 1, 1.0, stride=1)
LONG = Shape(16, 1, 1, 59.94, stride=45)
STEADY = Shape(12, 3, 2, 10.0, tail=8)  # 0.7 seconds for a pair of frames: 1.4 positions in Qwen2.5-VL, 7 for five
EXCERPT = Shape(6, 2, 2, 25.0, stride=5, first=1000)
SHAPES = (EVEN, ODD, PORTRAIT, STRIP, SINGLE, SLOW, LONG, STEADY, EXCERPT)
Medium = Shape | tuple[int, int]  # a video, or an image of (height, width)
TALL, WIDE = (3, 2), (1, 4)


@dataclass(frozen=True)
class Question:
    """A problem, and the media in it in order."""

    name: str
    problem: str
    media: tuple[Medium, ...] = ()

    def __str__(self) -> str:
        return self.name


QUESTIONS = (
    *(Question(str(shape), "Look: <video>\nWhat is it?", (shape,)) for shape in SHAPES),
    Question("two videos", "<video> or <video>?", (ODD, STRIP)),
    Question("long, then long", "<video><video>Which?", (LONG, STEADY)),
    Question("one image", "<image>What is it?", (TALL,)),
    Question("two images", "<image><image>Compare.", (WIDE, TALL)),
    Question("image, video", "Is <image> in <video>?", (TALL, LONG)),
    Question("video, image, video, image", "<video><image> then <video>, <image>", (LONG, WIDE, EXCERPT, TALL)),
)


@dataclass(frozen=True)
class Asked:
    """A question in a family's words."""

    text: str
    prompt: Expanded
    media: tuple[MediaClip, ...]

    @property
    def metadata(self) -> list[Any]:
        return [medium.metadata for medium in self.media]


def ask(adapter: ModelAdapter, question: Question, known: dict[Medium, MediaClip] | None = None) -> Asked:
    """The question with media of noise. Those in `known` are used again, new ones are added."""
    known = {} if known is None else known
    media = tuple(known.setdefault(medium, made(adapter, medium)) for medium in question.media)
    num_images = sum(isinstance(medium, ImageClip) for medium in media)
    text = adapter.render(question.problem, len(media) - num_images, num_images=num_images)
    return Asked(text, adapter.expand(adapter.encode(text), [medium.metadata for medium in media]), media)


def made(adapter: ModelAdapter, medium: Medium) -> MediaClip:
    """Noise of that shape, in blocks of the adapter's."""
    block = adapter.align
    if isinstance(medium, Shape):
        return clip(replace(medium, height=medium.height * block, width=medium.width * block))
    height, width = medium[0] * block, medium[1] * block
    pixels = np.random.default_rng([height, width]).integers(0, 256, (1, 3, height, width), np.uint8)
    metadata = ImageMetadata(
        height=height, width=width, source_height=height, source_width=width, orientation=1, resize="none"
    )
    return ImageClip(frames=pixels, metadata=metadata)


def processed(processor: Any, text: str, media: Sequence[MediaClip]) -> Any:
    """What transformers' processor makes of a prompt when it may neither resize nor sample."""
    images = [torch.from_numpy(each.frames[0]) for each in media if isinstance(each, ImageClip)]
    videos = [each for each in media if isinstance(each, VideoClip)]
    given = {"images": images, "videos": [torch.from_numpy(each.frames) for each in videos]}
    return processor(
        text=[text],
        **{kind: each for kind, each in given.items() if each},
        **({"video_metadata": [for_transformers(each.metadata) for each in videos]} if videos else {}),
        do_resize=False,
        do_sample_frames=False,
        return_tensors="pt",
    )


def in_order(media: Sequence[MediaClip], images: Sequence[Any], videos: Sequence[Any]) -> list[Any]:
    """What belongs to each medium, from one list for images and one for videos."""
    queues = {ImageClip: iter(images), VideoClip: iter(videos)}
    return [next(queues[type(each)]) for each in media]
