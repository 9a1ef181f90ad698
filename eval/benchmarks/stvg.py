# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Spatio-temporal grounding (ST-Align, arXiv 2501.08282, made of VidSTG): when something happens, and where.

One benchmark for each unit that boxes may have. Truths are boxes in pixels of the source at whole seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from statistics import fmean

from eval.annotations import first_of, read_annotations, unique
from eval.benchmark import Asker, Benchmark, Style, Wording, register
from eval.choices import INSTRUCT, THINKING
from eval.item import WRONG, EvalItem, Grade, Graded, Medium, Number
from eval.overlap import NOTHING, hc_stvg, span_iou, st_align, vidstg
from eval.wording import media_marks
from verl.data.files import Row
from verl.errors import DataError
from verl.scoring.answers import read_answer, unwrap_truth
from verl.scoring.boxes import Box
from verl.scoring.objects import MAX_CHARS, read_value
from verl.scoring.spans import Span, read_spans
from verl.scoring.tubes import read_tube
from verl.types import MediaMetadata, VideoMetadata

THRESHOLDS = (0.3, 0.5)
PIXELS, THOUSANDTHS, SHARES = "pixels", "thousandths", "shares"
SCALES = {THOUSANDTHS: 1000.0, SHARES: 1.0}  # what the width and the height of a frame are in these units

_FORM = (
    'a JSON object {{"time": [start, end], "boxes": {{"second": [x1, y1, x2, y2], ...}}}} with the span in seconds and'
    " one box for every whole second in it, in {unit}"
)
_OFFICIAL = (
    "Please provide the time span in seconds and bounding boxes as JSON within the <answer>...</answer> tags.\nYou MUST"
    " output one bounding box for every integer second within the given time span (inclusive).\nExample:\n<answer>"
    '{"time": [8, 13], "boxes": {"9": [317, 422, 582, 997], "10": [332, 175, 442, 369], "11": [340, 180, 450, 370]}}'
    "</answer>\nNote: Each key in 'boxes' must be an integer second within the span, and its value must be a 4-number"
    " bounding box [x1, y1, x2, y2]."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer: its span in seconds, its boxes by whole second in pixels of the source."""

    text: str
    span: Span | None
    boxes: Mapping[int, Box]


def grader(unit: str) -> Callable[[EvalItem, str], Grade]:
    """Grades answers whose boxes are in `unit`. Boxes in other units than pixels need the size of the frames."""

    def grade(item: EvalItem, response: str) -> Grade:
        said = read_said(item, response, unit)
        if said is None:
            return WRONG
        parts = overlaps(said.span, said.boxes, item)
        has_boxes = bool(item.answer["boxes"])
        return Grade(score=parts["viou" if has_boxes else "tiou"], parsed=said.text, parts=parts)

    return grade


def read_said(item: EvalItem, response: str, unit: str) -> Said | None:
    """The answer in a response whose boxes are in `unit`; None without a span and boxes."""
    text = read_answer(response, MAX_CHARS).text or response
    value, _ = read_value(text)
    if not isinstance(value, dict):
        return None
    reading, tube = read_spans(value, allow_points=True), read_tube(value.get("boxes", {}))
    span = reading.spans[0] if reading is not None and len(reading.spans) == 1 else None
    boxes = _in_pixels(tube.boxes if tube else {}, unit, item)
    return None if span is None and not boxes else Said(text=text.strip(), span=span, boxes=boxes)


def overlaps(span: Span | None, boxes: Mapping[int, Box], item: EvalItem) -> dict[str, float]:
    """Overlap of time, and of the tube by three scripts; that of time alone where the truth has no boxes."""
    truth: Span = (item.answer["time"][0], item.answer["time"][1])
    parts = {"tiou": span_iou(span, truth) if span else 0.0}
    theirs = {int(second): box for second, box in item.answer["boxes"].items()}
    if not theirs:
        return parts
    aligned = st_align(boxes, theirs)
    frames, ours = (min(theirs), max(theirs)), _seconds(span)
    inclusive = hc_stvg(boxes, theirs, ours, frames) if ours else NOTHING
    both = vidstg(boxes, theirs, (ours[0], ours[1] + 1), (frames[0], frames[1] + 1)) if ours else NOTHING
    return parts | {
        "siou": aligned.siou,
        "viou": aligned.viou,
        "hc_stvg": inclusive.viou,
        "vidstg": both.viou,
    }


def _seconds(span: Span | None) -> tuple[int, int] | None:
    """The first and the last whole second in a span; None where there is none."""
    if span is None or math.ceil(span[0]) > math.floor(span[1]):
        return None
    return math.ceil(span[0]), math.floor(span[1])


def _in_pixels(boxes: Mapping[int, Box], unit: str, item: EvalItem) -> Mapping[int, Box]:
    if unit == PIXELS:
        return boxes
    size = item.media[0].size
    if size is None:
        return {}
    height, width = size[0] / SCALES[unit], size[1] / SCALES[unit]
    return {at: (x1 * width, y1 * height, x2 * width, y2 * height) for at, (x1, y1, x2, y2) in boxes.items()}


def figures(rows: Sequence[Graded]) -> Mapping[str, Number]:
    """Means and recalls. Tubes are counted over the items whose truth has boxes, time over all.

    A recall counts an overlap of the threshold itself for ST-Align, and only what exceeds it for the other scripts.
    """
    if any(row.grade.score and not row.grade.parts for row in rows):
        return {}  # grades of another kind
    boxed = [row for row in rows if row.item.answer["boxes"]]
    unboxed = [row for row in rows if not row.item.answer["boxes"]]
    times, spaces = (_parts(rows, "tiou"), _parts(boxed, "siou"))
    tubes = {name: _parts(boxed, name) for name in ("viou", "hc_stvg", "vidstg")}
    found = {"m_vIoU": _mean(tubes["viou"]), "m_tIoU": _mean(times), "m_sIoU": _mean(spaces)}
    found |= {f"vIoU@{at}": _mean([float(iou >= at) for iou in tubes["viou"]]) for at in THRESHOLDS}
    for name, title in (("hc_stvg", "HC-STVG"), ("vidstg", "VidSTG")):
        found[f"{title} m_vIoU"] = _mean(tubes[name])
        found |= {f"{title} vIoU@{at}": _mean([float(iou > at) for iou in tubes[name]]) for at in THRESHOLDS}
    return found | ({"m_tIoU without boxes": _mean(_parts(unboxed, "tiou"))} if unboxed else {})


def _parts(rows: Sequence[Graded], name: str) -> list[float]:
    return [row.grade.parts.get(name, 0.0) for row in rows]


def _mean(values: Sequence[float]) -> Number:
    return Number(value=100 * fmean(values) if values else 0.0, n=len(values))


def read(path: Path) -> list[EvalItem]:
    """The rows of EasyVideoR1; columns `width` and `height`, where a row has them, are the size of its video."""
    return list(unique(_item(row) for row in read_annotations(path)))


def _item(row: Row) -> EvalItem:
    value, _ = read_value(unwrap_truth(first_of(row, "solution")))
    reading = read_spans(value, allow_points=True)
    tube = read_tube(value.get("boxes", {})) if isinstance(value, dict) else None
    if reading is None or len(reading.spans) != 1 or tube is None or not tube.is_whole:
        raise DataError(f"{row.where}: the solution is not one span of time and boxes by whole seconds")
    video = PurePosixPath(first_of(row, "path")).as_posix()
    has_size = row.fields.get("width") and row.fields.get("height")
    size = (int(row.fields["height"]), int(row.fields["width"])) if has_size else None
    return EvalItem(
        id=str(first_of(row, "problem_id")),
        video=video,
        media=(Medium(path=video, size=size),),
        question=str(first_of(row, "problem")),
        answer={"time": list(reading.spans[0]), "boxes": {str(at): list(box) for at, box in tube.boxes.items()}},
        problem_type="spatial-temporal grounding",
    )


def asking(unit: str) -> dict[Style, Asker]:
    """The words for boxes in `unit`; the official ones name none."""

    def official(item: EvalItem, media: Sequence[MediaMetadata]) -> Wording:
        lead = "Answer the following question based on the video."
        return Wording(user=f"{media_marks(item)}{lead}\nQuestion: {item.question}\n{_OFFICIAL}")

    def ours(closing: str) -> Asker:
        def ask(item: EvalItem, media: Sequence[MediaMetadata]) -> Wording:
            form = _FORM.format(unit=_unit(unit, media))
            return Wording(user=f"{media_marks(item)}{item.question}\n{closing.format(form=form)}")

        return ask

    return {"official": official, "instruct": ours(INSTRUCT), "thinking": ours(THINKING)}


def _unit(unit: str, media: Sequence[MediaMetadata]) -> str:
    if unit != PIXELS:
        return f"coordinates from 0 to {SCALES[unit]:g} across the width and the height of the frame"
    sizes = [(one.source_width, one.source_height) for one in media if isinstance(one, VideoMetadata)]
    told = f" of a frame that is {sizes[0][0]} wide and {sizes[0][1]} high" if sizes and all(sizes[0]) else ""
    return f"pixels{told}"


UNITS = {  # endings of names and titles
    PIXELS: ("", ""),
    THOUSANDTHS: ("_1000", ", coordinates from 0 to 1000"),
    SHARES: ("_1", ", coordinates from 0 to 1"),
}

for _coordinates, (_name, _title) in UNITS.items():
    register(
        Benchmark(
            name=f"stvg{_name}",
            title=f"STVG{_title}",
            source="github.com/appletea233/LLaVA-ST (ST-Align-Benchmark; videos of VidSTG)",
            read=read,
            num_items=2000,
            ask=asking(_coordinates),
            official=grader(_coordinates),
            aggregate=figures,
            max_tokens={"official": 4096, "instruct": 4096},
        )
    )
