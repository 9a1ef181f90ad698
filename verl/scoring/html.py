# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""HTML documents: their visible words and their structure. Nothing is drawn, so the order of siblings is not seen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from verl.scoring.confined.process import Confined, Failure, Limits

MAX_CHARS = 400_000
MEMORY_MIB = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How an answer compares with a truth."""

    is_truth: bool  # the truth has an element that can be seen
    is_html: bool  # and so has the answer
    likeness: float  # [0, 1]: 0.35 words, 0.35 parent and child, 0.2 tags, 0.1 attributes, each an F1


def compare_html(answer: str, truth: str, seconds: float) -> Likeness | Failure:
    """Both parsed as a browser does, in a process that is killed after `seconds`."""
    reply = _parser().call({"answer": answer, "truth": truth}, seconds)
    return reply if isinstance(reply, Failure) else Likeness(**reply)


@cache
def _parser() -> Confined:
    warm_ups = [{"answer": "<p>a", "truth": "<p>a"}]
    return Confined("verl.scoring.confined.html:compare", Limits(memory_mib=MEMORY_MIB, warm_ups=warm_ups))
