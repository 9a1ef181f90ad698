# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How much spans and tubes overlap, as the scripts of grounding benchmarks count it.

A tube is boxes by frame. Rewards widen instants and take unions of spans; these scripts do neither.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from verl.scoring.boxes import Box, box_iou

Frame = TypeVar("Frame", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class TubeOverlap:
    """In [0, 1]: of time, of boxes on shared frames, and of the whole tube."""

    tiou: float
    siou: float
    viou: float


NOTHING = TubeOverlap(tiou=0.0, siou=0.0, viou=0.0)


def span_iou(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Shared time over the time from the first start to the last end; 0 where that is none."""
    shared = min(ours[1], theirs[1]) - max(ours[0], theirs[0])
    whole = max(ours[1], theirs[1]) - min(ours[0], theirs[0])
    return max(0.0, shared) / whole if whole > 0 else 0.0


def st_align(ours: Mapping[Frame, Box], theirs: Mapping[Frame, Box]) -> TubeOverlap:
    """ST-Align (LLaVA-ST, arXiv 2501.08282): what has a box is in the tube. `tiou` is that of the boxed frames."""
    shared, either = _ious(ours, theirs), len(ours.keys() | theirs.keys())
    total = sum(shared)
    return TubeOverlap(tiou=len(shared) / max(either, 1), siou=total / max(len(shared), 1), viou=total / max(either, 1))


def hc_stvg(
    ours: Mapping[Frame, Box], theirs: Mapping[Frame, Box], our_frames: Sequence[int], their_frames: Sequence[int]
) -> TubeOverlap:
    """HC-STVG (arXiv 2011.05049): first and last frame belong to a tube; our boxes count wherever the truth has one.

    Over the frames from the first start to the last end.
    """
    shared = _ious(ours, theirs)
    frames = max(our_frames[1], their_frames[1]) - min(our_frames[0], their_frames[0]) + 1
    if frames <= 0:
        return NOTHING
    total = sum(shared)
    return TubeOverlap(tiou=len(shared) / frames, siou=total / max(len(shared), 1), viou=total / frames)


def vidstg(
    ours: Mapping[int, Box], theirs: Mapping[int, Box], our_frames: Sequence[int], their_frames: Sequence[int]
) -> TubeOverlap:
    """VidSTG as TubeDETR counts it (arXiv 2203.16434): the end frame does not belong to a tube; boxes count where both
    tubes are, over the frames from the first start to the last end.
    """
    start, end = max(our_frames[0], their_frames[0]), min(our_frames[1], their_frames[1])
    frames = max(our_frames[1], their_frames[1]) - min(our_frames[0], their_frames[0])
    inside = range(start, end)
    total = sum(box_iou(ours[at], theirs[at]) for at in inside if at in ours and at in theirs)
    lengths = (our_frames[1] - our_frames[0]) + (their_frames[1] - their_frames[0])
    return TubeOverlap(
        tiou=len(inside) / max(lengths - len(inside), 1),
        siou=total / max(len(inside), 1),
        viou=total / max(frames, 1),
    )


def interpolated(boxes: Mapping[int, Box], second: float) -> Box | None:
    """The box at a time, of boxes at whole seconds: between two of them in proportion, else held for under a second."""
    before = math.floor(second)
    left, right = boxes.get(before), boxes.get(before + 1)
    if left is None or right is None:
        return left if left is not None or second == before else right
    share = second - before
    return (
        left[0] + share * (right[0] - left[0]),
        left[1] + share * (right[1] - left[1]),
        left[2] + share * (right[2] - left[2]),
        left[3] + share * (right[3] - left[3]),
    )


def _ious(ours: Mapping[Frame, Box], theirs: Mapping[Frame, Box]) -> list[float]:
    return [box_iou(ours[frame], box) for frame, box in theirs.items() if frame in ours]
