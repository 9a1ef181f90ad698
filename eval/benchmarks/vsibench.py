# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""VSI-Bench (arXiv 2412.14171): eight tasks about rooms, four of them with numbers that can be nearly right."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from eval.aggregate import by_label, macro, micro
from eval.annotations import first_of, letter_answer, read_annotations, read_options, unique
from eval.benchmark import Benchmark, register
from eval.choices import letter_list, option_lines
from eval.extraction import first_word
from eval.grading import CHOICE
from eval.item import WRONG, EvalItem, Grade, Graded, Medium, Number
from eval.wording import asking
from verl.data.files import Row
from verl.errors import DataError
from verl.scoring.answers import unwrap_truth

NUMERIC = ("object_counting", "object_abs_distance", "object_size_estimation", "room_size_estimation")
DIRECTIONS = "object_rel_direction"
CHOSEN = ("object_rel_distance", DIRECTIONS, "route_planning", "obj_appearance_order")
THRESHOLDS = np.linspace(0.5, 0.95, 10)


def mean_relative_accuracy(number: float, truth: float) -> float:
    """Share of ten thresholds that the relative error stays within, in 64 bits as the official script counts it.

    A truth of 0, at which that script stops, is met by 0 alone.
    """
    if truth == 0:
        return float(number == 0)
    return float((abs(number - truth) / truth <= 1 - THRESHOLDS).mean())


def grade(item: EvalItem, response: str) -> Grade:
    """The first word: a letter, case aside, or a number."""
    word = first_word(response)
    if item.problem_type == CHOICE:
        return Grade(score=float(word.lower() == str(item.answer).lower()), parsed=word or None)
    try:
        return Grade(score=mean_relative_accuracy(float(word), float(item.answer)), parsed=word)
    except ValueError:
        return WRONG


def figures(rows: Sequence[Graded]) -> Mapping[str, Number]:
    """The mean over the eight tasks, of which directions are one with three grades of difficulty; and the tasks."""
    types = {name: micro(members) for name, members in by_label(rows, "type").items()}
    directions = {name: number for name, number in types.items() if name.startswith(DIRECTIONS)}
    if directions:
        types[DIRECTIONS] = macro(directions)
    tasks = {name: types[name] for name in (*NUMERIC, *CHOSEN) if name in types}
    kinds = {
        "accuracy": [row for row in rows if row.item.problem_type == CHOICE],
        "mean relative accuracy": [row for row in rows if row.item.problem_type != CHOICE],
    }
    return {"overall": macro(tasks), **tasks, **{name: micro(members) for name, members in kinds.items() if members}}


def read(path: Path) -> list[EvalItem]:
    """The rows of the data set, or those of EasyVideoR1."""
    return list(unique(_item(row) for row in read_annotations(path)))


def _item(row: Row) -> EvalItem:
    fields = row.fields
    kind = str(first_of(row, "question_type", "original_question_type"))
    is_number = kind in NUMERIC
    if not is_number and not kind.startswith(CHOSEN):
        raise DataError(f"{row.where}: {kind!r} is no question type of VSI-Bench")
    place = fields["path"] if "path" in fields else f"{first_of(row, 'dataset')}/{first_of(row, 'scene_name')}.mp4"
    video = PurePosixPath(place).as_posix()
    truth = unwrap_truth(first_of(row, "solution", "ground_truth"))
    options = () if is_number else read_options(fields.get("options"), row.where)
    return EvalItem(
        id=str(first_of(row, "problem_id", "id")),
        video=video,
        media=(Medium(path=video),),
        question=str(first_of(row, "problem", "question")),
        answer=_number(truth, row.where) if is_number else letter_answer(truth, options, row.where),
        problem_type="regression" if is_number else CHOICE,
        options=options,
        labels={"type": (kind,), "source": (video.split("/")[0],)},
        fields=fields,
    )


def _number(truth: object, where: str) -> str:
    try:
        number = float(str(truth))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{where}: the answer {truth!r} is no number")
    return str(truth)


def _official(item: EvalItem) -> str:
    return "\n".join(("These are frames of a video.", item.question, *_official_end(item)))


def _official_end(item: EvalItem) -> Iterator[str]:
    if item.options:
        yield "Options:\n" + option_lines(item)
        yield "Answer with the option's letter from the given choices directly."
    else:
        yield "Please answer the question using a single word or phrase."


def _question(item: EvalItem) -> str:
    return f"{item.question}\n{option_lines(item)}" if item.options else item.question


def _form(item: EvalItem) -> str:
    return f"the letter of the best option ({letter_list(item)})" if item.options else "the number"


register(
    Benchmark(
        name="vsibench",
        title="VSI-Bench",
        source="huggingface.co/datasets/nyu-visionx/VSI-Bench",
        read=read,
        num_items=5130,
        ask=asking(_official, _question, _form),
        official=grade,
        aggregate=figures,
        breakdowns=("type", "source"),
    )
)
