# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Time spans: reading them from JSON or a short phrase, and how much two sets of them overlap."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from verl.scoring.objects import MAX_CHARS, read_number, read_value
from verl.scoring.text import normalize, unwrap

MAX_PHRASE_CHARS = 128
MAX_SPANS = 1_000
POINT_WIDTH = 0.5  # seconds given to an instant, so that it can be hit

Span: TypeAlias = tuple[float, float]

_TIME = re.compile(
    r"(?<![A-Za-z0-9_.:])(?:(?:(\d{1,2}):)?(\d{1,3}):)?(\d{1,15}(?:\.\d{1,15})?)(?![\d:])"
    r"(?=\s?(?:s|secs?|seconds?)\b|\s?\u79d2|\W|$)",
    re.IGNORECASE,
)
# Chinese, at last: minute, hour, frame
_OTHER_UNIT = re.compile(
    r"\d\s?(?:m|min\w*|h|hrs?|hours?|ms|frames?|%)(?!\w)|\bframes?\b|\d\s?[\u5206\u65f6\u5e27]|\u5c0f\u65f6",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanReading:
    """Spans and in which shape they were written."""

    spans: tuple[Span, ...]
    is_object: bool  # the text is {"time": ...} and nothing else
    is_flat: bool  # one [start, end], not a list of them


def read_spans(source: object, *, allow_points: bool = False) -> SpanReading | None:
    """Spans in seconds of a JSON value or text, or None. Never swaps: start >= end is no span.

    Text is JSON, prose around exactly one JSON object, or a phrase with two times ("10 to 20", "0:10-0:20").
    `allow_points` admits start == end.
    """
    if not isinstance(source, str):
        return _from_json(source, allow_points, is_object=isinstance(source, dict))
    text = source.strip()
    if len(text) > MAX_CHARS:
        return None
    text = unwrap(text) if text.startswith("\\boxed") else text
    value, is_whole = read_value(text)
    if value is None and "{" not in text:
        value = _phrase(text)
    return _from_json(value, allow_points, is_object=is_whole)


def temporal_iou(prediction: Sequence[Span], truth: Sequence[Span]) -> float:
    """Length of the intersection over length of the union of two sets of spans, in [0, 1].

    When the truth holds an instant, spans on both sides are at least half a second wide.
    """
    if any(start == end for start, end in truth):
        prediction, truth = _widen(prediction), _widen(truth)
    ours, theirs = _merge(prediction), _merge(truth)
    union = _length(_merge([*ours, *theirs]))
    shared = _length(ours) + _length(theirs) - union
    return min(1.0, max(0.0, shared / union)) if union > 0 else 0.0


def _phrase(text: str) -> list[float] | None:
    text = normalize(text) if len(text) <= MAX_PHRASE_CHARS else ""
    times = list(_TIME.finditer(text))
    is_negative = bool(times) and text[: times[0].start()].endswith("-")
    if len(times) != 2 or is_negative or _OTHER_UNIT.search(text):
        return None
    if any(c.isdecimal() for c in _TIME.sub("", text)):
        return None
    return [int(m[1] or 0) * 3600 + int(m[2] or 0) * 60 + float(m[3]) for m in times]


def _from_json(value: Any, allow_points: bool, *, is_object: bool) -> SpanReading | None:
    value = value.get("time") if isinstance(value, dict) else value
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_SPANS:
        return None
    is_flat = not isinstance(value[0], list | tuple)
    spans = [_span(pair, allow_points) for pair in ([value] if is_flat else value)]
    found = tuple(span for span in spans if span is not None)
    return SpanReading(spans=found, is_object=is_object, is_flat=is_flat) if len(found) == len(spans) else None


def _span(pair: Any, allow_points: bool) -> Span | None:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        return None
    start, end = read_number(pair[0]), read_number(pair[1])
    if start is None or end is None or start > end or (start == end and not allow_points):
        return None
    return start, end


def _widen(spans: Sequence[Span]) -> list[Span]:
    extra = [(start, end, max(0.0, POINT_WIDTH - (end - start)) / 2) for start, end in spans]
    return [(start - more, end + more) for start, end, more in extra]


def _merge(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _length(spans: Sequence[Span]) -> float:
    return math.fsum(end - start for start, end in spans)
