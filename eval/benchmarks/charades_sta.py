# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Charades-STA (TALL, arXiv 1705.02101): when something happens. Prompt and reading of times as in lmms-eval."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from eval.aggregate import micro
from eval.annotations import first_of, read_annotations, unique
from eval.benchmark import Benchmark, register
from eval.item import WRONG, EvalItem, Grade, Graded, Medium, Number
from eval.overlap import span_iou
from eval.wording import asking
from verl.data.files import Row
from verl.errors import DataError
from verl.scoring.answers import unwrap_truth
from verl.scoring.spans import Span, read_spans

RECALLS = (0.3, 0.5, 0.7)

_EXAMPLE = "a specific example is : 20.8 - 30.0 seconds"
_CUE = re.compile(r"start|end|happen")
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2})?"
_CLOCKS = re.compile(rf"\b({_CLOCK})\s*[\u2013-]\s*({_CLOCK})\b")
_ONE_CLOCK = re.compile(rf"\b({_CLOCK})\b")
_NUMBERS = re.compile(r"(?<!\d)(\d+(?:\.\d+)?)\s*[\u2013-]\s*(\d+(?:\.\d+)?)")
_ONE_NUMBER = re.compile(r"\b(\d+(?:\.\d+)?)\b")
_SECONDS = re.compile(r"(?<!\d)(\d+(?:\.\d+)?)\s*(?:s\s*)?[\u2013-]\s*(\d+(?:\.\d+)?)")
_LINE = re.compile(r"\s*(\S+)\s+(\S+)\s+(\S+)\s*##\s*(.+?)\s*")


def read_time(response: str) -> Span | None:
    """The first span in a response, its ends put in order; None without one.

    Sentences that say start, end or happen are read, or all where none does: a range of clock times in one of them, a
    range of numbers, two clock times, the first numbers of two sentences. Ends are "!", "?" and new lines, not points.
    """
    sentences = re.split(r"[!?\n]", response.lower().replace(_EXAMPLE, "").replace("to", "-"))
    told = [sentence for sentence in sentences if _CUE.search(sentence)] or sentences
    for first, second in _pairs(told):
        return min(first, second), max(first, second)
    return None


def _pairs(sentences: Sequence[str]) -> Iterator[Span]:
    """Candidates from the surest reading to the least sure."""
    yield from ((_seconds(a), _seconds(b)) for one in sentences for a, b in _CLOCKS.findall(one))
    yield from ((float(a), float(b)) for one in sentences for a, b in _NUMBERS.findall(one))
    clocks = [_seconds(clock) for one in sentences for clock in _ONE_CLOCK.findall(one)]
    yield from zip(clocks[::2], clocks[1::2], strict=False)
    numbers = [float(found[1]) for one in sentences if (found := _ONE_NUMBER.search(one))]
    yield from zip(numbers[::2], numbers[1::2], strict=False)
    yield from ((float(a), float(b)) for one in sentences for a, b in _SECONDS.findall(one))


def _seconds(clock: str) -> float:
    seconds = 0.0
    for part in clock.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def grade(item: EvalItem, response: str) -> Grade:
    """IoU of time."""
    span = read_time(response)
    if span is None:
        return WRONG
    return Grade(score=span_iou(span, item.answer["time"]), parsed=f"{span[0]:g} - {span[1]:g}")


def figures(rows: Sequence[Graded]) -> Mapping[str, Number]:
    """The mean IoU, and the share of items with an IoU of at least .3, .5 and .7."""
    return {"mIoU": micro(rows), **recalls("R@1 IoU", [row.grade.score or 0.0 for row in rows], RECALLS)}


def recalls(name: str, ious: Sequence[float], thresholds: Sequence[float]) -> dict[str, Number]:
    """Percentages of overlaps that reach each threshold, which itself counts."""
    return {
        f"{name}={at}": Number(value=100 * fmean(iou >= at for iou in ious) if ious else 0.0, n=len(ious))
        for at in thresholds
    }


def read(path: Path) -> list[EvalItem]:
    """Lines "3MSZA 24.3 30.4##person turn a light on.", rows with a caption and a timestamp, or EasyVideoR1's."""
    return list(unique(_item(row, number) for number, row in enumerate(read_annotations(path))))


def _item(row: Row, number: int) -> EvalItem:
    fields = row.fields
    if "line" in fields:
        found = _LINE.fullmatch(str(fields["line"]))
        if found is None:
            raise DataError(f"{row.where}: not of the form 'VIDEO START END##sentence'")
        video, sentence, time = f"{found[1]}.mp4", found[4], f"[{found[2]}, {found[3]}]"
    elif "solution" in fields:
        video, sentence = first_of(row, "path"), first_of(row, "problem")
        time = unwrap_truth(fields["solution"])
    else:
        video, sentence, time = (first_of(row, name) for name in ("video", "caption", "timestamp"))
    try:
        reading = read_spans(json.loads(time) if isinstance(time, str) else time, allow_points=True)
    except ValueError:
        reading = None
    if reading is None or len(reading.spans) != 1 or not video or not sentence:
        raise DataError(f"{row.where}: a video, a sentence and one span of time are needed, the time is {time!r:.80}")
    return EvalItem(
        id=str(fields.get("problem_id", number)),
        video=str(video),
        media=(Medium(path=str(video)),),
        question=str(sentence),
        answer={"time": list(reading.spans[0])},
        problem_type="temporal grounding",
        fields=fields,
    )


def _official(item: EvalItem) -> str:
    return (
        "Please find the visual event described by a sentence in the video, determining its starting and ending times."
        " The format should be: 'The event happens in the start time - end time'. For example, The event 'person turn a"
        " light on' happens in the 24.3 - 30.4 seonds. Now I will give you the textual sentence:"
        f" {item.question.rstrip('. ')}. Please return its start time and end time."
    )


def _question(item: EvalItem) -> str:
    return f"When in the video does this happen: {item.question}"


register(
    Benchmark(
        name="charades_sta",
        title="Charades-STA",
        source="github.com/jiyanggao/TALL and prior.allenai.org/projects/charades",
        read=read,
        num_items=3720,
        ask=asking(_official, _question, lambda item: "the time span in seconds, in the form START - END"),
        official=grade,
        aggregate=figures,
    )
)
