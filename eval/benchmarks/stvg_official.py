# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Spatio-temporal grounding by annotations and scripts of VidSTG (arXiv 2001.06891) and HC-STVG v2 (arXiv 2011.05049).

Their tubes have a box on every frame; a model writes one for every second. What it writes is carried over to the
frames: between two seconds in proportion. VidSTG is counted at 5 frames a second, as TubeDETR does (arXiv 2203.16434),
HC-STVG at every frame.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from eval.aggregate import by_label
from eval.annotations import first_of, read_annotations, unique
from eval.benchmark import Benchmark, Reader, register
from eval.benchmarks import stvg
from eval.item import WRONG, EvalItem, Grade, Graded, Medium, Number
from eval.overlap import NOTHING, TubeOverlap, hc_stvg, interpolated, vidstg
from verl.data.files import Row
from verl.errors import DataError
from verl.scoring.boxes import Box
from verl.scoring.spans import Span

THRESHOLDS = (0.3, 0.5)  # of vIoU, to be exceeded
VIDSTG_RATE = 5  # ticks a second
HC_SECONDS = 20.0  # length of every clip of HC-STVG
SHIFT = 1e-6  # ticks that a time may be off by
KINDS = {"captions": "declarative", "questions": "interrogative"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A tube on ticks: frames, or a coarser grid. Tick n is at second `start` + n / `rate`."""

    rate: float
    start: float
    first: int
    end: int  # the tick after the last
    boxes: Mapping[int, Box]  # in pixels of the source

    def second(self, tick: float) -> float:
        """When a tick is."""
        return self.start + tick / self.rate

    def ticks(self, span: Span) -> tuple[int, int]:
        """The first tick in a span of seconds, and the one after its last."""
        first, end = (math.ceil((time - self.start) * self.rate - SHIFT) for time in span)
        return first, end

    def overlap(self, said: stvg.Said, rule: str) -> TubeOverlap:
        """With an answer, by the rule of HC-STVG or of VidSTG."""
        first, end = self.ticks(said.span) if said.span else (0, 0)
        if first >= end:
            return NOTHING
        near = range(max(first, self.first), min(end, self.end))
        found = {tick: interpolated(said.boxes, self.second(tick)) for tick in near}
        ours = {tick: box for tick, box in found.items() if box is not None}
        if rule == "vidstg":
            return vidstg(ours, self.boxes, (first, end), (self.first, self.end))
        return hc_stvg(ours, self.boxes, (first, end - 1), (self.first, self.end - 1))

    def answer(self) -> dict[str, Any]:
        """The tube as a model should write it."""
        span = [self.second(self.first), self.second(self.end)]
        seconds = range(math.ceil(span[0] - SHIFT), math.floor(span[1] + SHIFT) + 1)
        ticks = {at: round((at - self.start) * self.rate) for at in seconds}
        return {"time": span, "boxes": {str(at): list(self.boxes[n]) for at, n in ticks.items() if n in self.boxes}}


def grader(unit: str, rule: str) -> Callable[[EvalItem, str], Grade]:
    """Grades answers whose boxes are in `unit`."""

    def grade(item: EvalItem, response: str) -> Grade:
        said = stvg.read_said(item, response, unit)
        if said is None:
            return WRONG
        found = item.fields["truth"].overlap(said, rule)
        parts = {"tiou": found.tiou, "siou": found.siou, "viou": found.viou}
        return Grade(score=found.viou, parsed=said.text, parts=parts)

    return grade


def figures(rows: Sequence[Graded]) -> Mapping[str, Number]:
    """Means and recalls; VidSTG's also for sentences and for questions, which are published apart."""
    if any(row.grade.score and not row.grade.parts for row in rows):
        return {}  # grades of another kind
    found = _figures(rows)
    for kind, members in by_label(rows, "kind").items():
        found |= {f"{kind} {name}": number for name, number in _figures(members).items()}
    return found


def _figures(rows: Sequence[Graded]) -> dict[str, Number]:
    tubes = [row.grade.parts.get("viou", 0.0) for row in rows]
    times = [row.grade.parts.get("tiou", 0.0) for row in rows]
    recalls = {f"vIoU@{at}": _mean([float(iou > at) for iou in tubes]) for at in THRESHOLDS}
    return {"m_vIoU": _mean(tubes), "m_tIoU": _mean(times), **recalls}


def _mean(values: Sequence[float]) -> Number:
    return Number(value=100 * fmean(values) if values else 0.0, n=len(values))


def read_vidstg(path: Path) -> list[EvalItem]:
    """`test_annotations.json`, or the file that is named, and VidOR's annotations in a folder `vidor` beside it."""
    files = _vidor(path)
    return list(
        unique(item for row in read_annotations(path, "test_annotations.json") for item in _sentences(row, files))
    )


def _vidor(path: Path) -> dict[str, Path]:
    folder = path if path.is_dir() else path.parent
    found = next((place / "vidor" for place in (folder, folder.parent) if (place / "vidor").is_dir()), None)
    if found is None:
        raise DataError(
            f"{folder}: no folder vidor there or in {folder.parent}; the boxes of VidSTG are those of VidOR, unpack its"
            " annotations into one (xdshang.github.io/docs/vidor.html)"
        )
    return {file.stem: file for file in found.rglob("*.json")}


def _sentences(row: Row, vidor: Mapping[str, Path]) -> Iterator[EvalItem]:
    """A row has several sentences and questions, each about one object."""
    fields, video = row.fields, str(first_of(row, "vid"))
    if video not in vidor:
        raise DataError(f"{row.where}: there is no {video}.json among the annotations of VidOR")
    objects = json.loads(vidor[video].read_text(encoding="utf-8"))
    segment, span, fps = (first_of(row, name) for name in ("used_segment", "temporal_gt", "fps"))
    path = str(objects.get("video_path") or f"{video}.mp4")
    begin = segment["begin_fid"]
    medium = Medium(path=path, start=begin / fps, end=segment["end_fid"] / fps, size=_size(fields))
    if not any(isinstance(fields.get(column), list) for column in KINDS):
        raise DataError(f"{row.where}: there is no list {' and no list '.join(map(repr, KINDS))}")
    for column, kind in KINDS.items():
        for sentence in fields.get(column) or ():
            truth = _on_ticks(objects["trajectories"], sentence["target_id"], (begin, span), fps)
            if not truth.boxes:
                raise DataError(f"{row.where}: object {sentence['target_id']} of {video} has no box in its time")
            yield _item(f"{video}/{begin}/{kind}", medium, (str(sentence["description"]), kind), truth)


def _on_ticks(frames: Sequence[Any], target: int, times: tuple[int, Mapping[str, int]], fps: float) -> Truth:
    """The boxes of an object from the first frame to before the last, at ticks from the start of the excerpt."""
    begin, span = times
    step = fps / VIDSTG_RATE
    first, end = (math.ceil((span[name] - begin) / step - SHIFT) for name in ("begin_fid", "end_fid"))
    boxes = {}
    for tick in range(first, end):
        frame = begin + math.floor(tick * step + SHIFT)
        held = [one["bbox"] for one in frames[frame] if one["tid"] == target] if frame < len(frames) else []
        for box in held:
            boxes[tick] = (float(box["xmin"]), float(box["ymin"]), float(box["xmax"]), float(box["ymax"]))
    return Truth(rate=VIDSTG_RATE, start=0.0, first=first, end=end, boxes=boxes)


def read_hcstvg(path: Path) -> list[EvalItem]:
    """`valv2.json`, an object of videos; the answers of the test set are not public."""
    return list(unique(_person(row) for row in read_annotations(path, "*val*")))


def _person(row: Row) -> EvalItem:
    fields, video = row.fields, str(first_of(row, "key"))
    if not first_of(row, "bbox"):
        raise DataError(f"{row.where}: there are no boxes in 'bbox'")
    boxes, first = row.fields["bbox"], int(first_of(row, "st_frame", "tube_start_frame"))
    rate, start = _rate(row, first, len(boxes))
    tube = {first + n: (float(x), float(y), float(x + w), float(y + h)) for n, (x, y, w, h) in enumerate(boxes)}
    truth = Truth(rate=rate, start=start, first=first, end=first + len(boxes), boxes=tube)
    name = video if "." in video else f"{video}.mp4"
    sentence = str(first_of(row, "English", "caption"))
    return _item(video, Medium(path=name, size=_size(fields)), (sentence, "declarative"), truth)


def _rate(row: Row, first: int, count: int) -> tuple[float, float]:
    """Frames a second, and the second of frame 0: from the times of the tube, or from the length of all clips."""
    fields = row.fields
    if fields.get("st_time") is not None and fields.get("ed_time") is not None and count:
        length = float(fields["ed_time"]) - float(fields["st_time"])
        if length > 0:
            return count / length, float(fields["st_time"]) - first * length / count
    rate = float(fields.get("fps") or 0) or float(first_of(row, "img_num", "frame_count")) / HC_SECONDS
    return rate, -1 / rate  # frames are numbered from 1


def _size(fields: Mapping[str, Any]) -> tuple[int, int] | None:
    if fields.get("img_size"):
        return int(fields["img_size"][0]), int(fields["img_size"][1])
    return (int(fields["height"]), int(fields["width"])) if fields.get("height") and fields.get("width") else None


def _item(id: str, medium: Medium, sentence: tuple[str, str], truth: Truth) -> EvalItem:
    text, kind = sentence
    asked = text if kind == "interrogative" else f'Find this in the video: "{text}"'
    whom = "the answer" if kind == "interrogative" else "its subject"
    return EvalItem(
        id=id,
        video=medium.path,
        media=(medium,),
        question=f"{asked} When does it happen, and where is {whom}?",
        answer=truth.answer(),
        problem_type="spatial-temporal grounding",
        labels={"kind": (kind,)},
        fields={"truth": truth},
    )


_SETS: tuple[tuple[str, str, str, Reader, int], ...] = (
    ("vidstg", "VidSTG", "github.com/Guaranteer/VidSTG-Dataset, videos and boxes of VidOR", read_vidstg, 10303),
    ("hcstvg", "HC-STVG v2", "github.com/tzhhhh123/HC-STVG", read_hcstvg, 2000),
)
for _rule, _title, _source, _read, _count in _SETS:
    for _unit, (_ending, _told) in stvg.UNITS.items():
        register(
            Benchmark(
                name=f"{_rule}{_ending}",
                title=f"{_title}{_told}",
                source=_source,
                read=_read,
                num_items=_count,
                ask=stvg.asking(_unit),
                official=grader(_unit, _rule),
                aggregate=figures,
                max_tokens={"official": 4096, "instruct": 4096},
                folder=_rule,
            )
        )
