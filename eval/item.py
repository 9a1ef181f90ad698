# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One question of a benchmark, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from verl.types import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """A video or an image of a question; of a video, only the seconds from `start` to `end`.

    A video may be a folder of images whose names end in their numbers. Annotations have to tell its frame rate then.
    """

    path: str  # relative to the benchmark's folder of media, or absolute
    kind: Kind = "video"
    start: float | None = None
    end: float | None = None
    folder_fps: float | None = None  # frames per second of a video that is a folder
    size: tuple[int, int] | None = None  # (height, width) of the source, known at the latest once it is decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtitle:
    """Something said from `start` to `end`, in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalItem:
    """One question. `id` is unique in its benchmark, also where the annotations repeat theirs."""

    id: str
    video: str  # questions about one video stand together, and confidence intervals are clustered by it
    media: tuple[Medium, ...]  # as they stand in the prompt
    question: str
    answer: Any  # a letter, a text, a number, spans or boxes; None where grading needs no truth
    problem_type: str  # as in training: the task by which the robust score is given
    options: tuple[str, ...] = ()  # without their letters
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # breakdown -> the categories it is in
    subtitles: tuple[Subtitle, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)  # the annotation as read, for official scorers


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """How right one response is. `score` None: a judge has to say."""

    score: float | None  # [0, 1]
    parsed: str | None  # the answer that was read; None when there was none to read
    parts: Mapping[str, float] = field(default_factory=dict)  # more that an aggregate needs


WRONG = Grade(score=0.0, parsed=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """An item and its grade, as an aggregate sees it. A failed item has WRONG."""

    item: EvalItem
    grade: Grade


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A figure of a report, in percent unless its name says otherwise, and over how many units it is a mean."""

    value: float
    n: int
