# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""SVG documents: how much the pictures are alike, and a little of how they are written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from verl.scoring.confined.process import Confined, Failure, Limits

MAX_CHARS = 200_000
MEMORY_MIB = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How an answer compares with a truth."""

    is_truth: bool  # the truth is an SVG that shows something
    is_svg: bool = False  # the answer is one that reaches for nothing outside itself
    visual: float = 0.0  # [0, 1]; a picture of one colour has 0
    tags: float = 0.0  # [0, 1]; F1 of element names


def compare_svg(answer: str, truth: str, seconds: float) -> Likeness | Failure:
    """Both drawn on the canvas of the truth, in a process that is killed after `seconds`."""
    reply = _renderer().call({"answer": answer, "truth": truth}, seconds)
    return reply if isinstance(reply, Failure) else Likeness(**reply)


def svg_score(likeness: Likeness, num_chars: int, num_truth_chars: int) -> float:
    """0.7 picture + 0.2 element names + 0.1 brevity (full up to twice the length of the truth); 0 without likeness."""
    if likeness.visual <= 0:
        return 0.0
    brevity = min(1.0, 2 * num_truth_chars / max(1, num_chars))
    return max(0.0, 1 - 0.7 * (1 - likeness.visual) - 0.2 * (1 - likeness.tags) - 0.1 * (1 - brevity))


@cache
def _renderer() -> Confined:
    return Confined("verl.scoring.confined.svg:compare", Limits(memory_mib=MEMORY_MIB))
