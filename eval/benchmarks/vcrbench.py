# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""VCR-Bench (arXiv 2504.07956): reasoning about videos, with choices, times, boxes and words for an answer.

The published script has an LLM cut the answer out of every response, and compare all that is no time and no box. Here
a judge is asked only about what cannot be decided by reading.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from eval.aggregate import micro
from eval.annotations import first_of, letter_answer, read_annotations, read_options, unique
from eval.benchmark import Benchmark, register
from eval.choices import letter_list, option_lines
from eval.grading import CHOICE
from eval.item import WRONG, EvalItem, Grade, Graded, Medium, Number
from eval.overlap import span_iou
from eval.wording import asking
from verl.data.files import Row
from verl.rewards.judge_prompt import JudgeCase
from verl.scoring.answers import read_answer, unwrap_truth
from verl.scoring.boxes import Box, box_iou
from verl.scoring.choices import Options
from verl.scoring.spans import read_spans
from verl.scoring.text import loose

TIME_IOU, BOX_IOU = 0.7, 0.5  # an answer must exceed
DURATIONS = ((60, "0-60 s"), (300, "60-300 s"), (float("inf"), "over 300 s"))
MAX_CHARS = 400  # a longer text is no time and no letter


def compare(truth: str, answer: str) -> float | None:
    """The score of two times "[90, 150]" or two boxes of whole numbers; None where the script asks its judge."""
    ours, theirs = _numbers(answer), _numbers(truth)
    box, true_box = _box(answer), _box(truth)
    try:
        if len(ours) == len(theirs) == 2:
            return float(span_iou(ours, theirs) > TIME_IOU)
        if box and true_box:
            return float(box_iou(box, true_box) > BOX_IOU)
    except OverflowError:  # whole numbers beyond all floats
        return 0.0
    return None


def _numbers(text: str) -> tuple[float, ...]:
    """The numbers of a bracketed list of at most four; none for anything else."""
    text = text.strip()
    if not text.startswith("[") or not text.endswith("]") or len(text) > MAX_CHARS:
        return ()
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return ()
    is_plain = isinstance(value, list) and len(value) <= 4 and all(isinstance(one, int | float) for one in value)
    return tuple(value) if is_plain else ()


def _box(text: str) -> Box | None:
    """Four whole numbers in brackets; "1.0" is none."""
    parts = text[1:-1].split(",")
    if not text.startswith("[") or not text.endswith("]") or len(parts) != 4 or len(text) > MAX_CHARS:
        return None
    try:
        x1, y1, x2, y2 = (int(part) for part in parts)
    except ValueError:
        return None
    return x1, y1, x2, y2


def grade(item: EvalItem, response: str) -> Grade:
    """By letter, overlap or identity; None where a judge has to compare words."""
    text = read_answer(response, MAX_CHARS).text or response.strip()
    if not text:
        return WRONG
    if item.problem_type == CHOICE:
        letter = Options.of(item.options).pick(text)
        return Grade(score=None if letter is None else float(letter == item.answer), parsed=letter or text)
    score = compare(str(item.answer), _as_list(text))
    if score is None and loose(text) == loose(str(item.answer)):
        score = 1.0
    return Grade(score=score, parsed=text)


def _as_list(text: str) -> str:
    """A time in words, "1:30 to 2:30", the way the script has its LLM write it."""
    reading = read_spans(text) if len(text) <= MAX_CHARS and not _numbers(text) else None
    return str(list(reading.spans[0])) if reading is not None and len(reading.spans) == 1 else text


def case(item: EvalItem, text: str) -> JudgeCase:
    """What a judge is asked; the reference of a choice is its letter and its text."""
    return JudgeCase(
        question=item.question,
        references=(_reference(item),),
        response=text,
        options=tuple(option_lines(item).splitlines()) if item.options else (),
        rubric="A letter must be the right one. Other answers must mean exactly the same; 0.5 m and 50 cm do.",
    )


def _reference(item: EvalItem) -> str:
    if not item.options:
        return str(item.answer)
    return next(line for line in option_lines(item).splitlines() if line.startswith(f"{item.answer}."))


def figures(rows: Sequence[Graded]) -> Mapping[str, Number]:
    """Accuracy over everything, over choices and over the rest."""
    kinds = {
        "multiple choice": [row for row in rows if row.item.options],
        "open": [row for row in rows if not row.item.options],
    }
    return {"accuracy": micro(rows), **{name: micro(members) for name, members in kinds.items() if members}}


def read(path: Path) -> list[EvalItem]:
    """`meta_info_video.json`, or the rows of EasyVideoR1, which have no dimension and no duration."""
    return list(unique(_item(row) for row in read_annotations(path)))


def _item(row: Row) -> EvalItem:
    fields = row.fields
    given = fields.get("choices") if "choices" in fields else fields.get("options")
    is_choice = bool(given) and fields.get("multiple-choice", True)
    options = read_options(given, row.where) if is_choice else ()
    truth = unwrap_truth(first_of(row, "solution", "answer"))
    video = PurePosixPath(first_of(row, "path", "video_path")).as_posix()
    labels = {"dimension": (str(fields["dimension"]),)} if fields.get("dimension") else {}
    if fields.get("duration") is not None:
        duration = float(fields["duration"])
        labels["duration"] = (next(name for most, name in DURATIONS if duration <= most),)
    return EvalItem(
        id=str(first_of(row, "problem_id", "id")),
        video=video,
        media=(Medium(path=video),),
        question=str(first_of(row, "problem", "question")).strip(),
        answer=letter_answer(truth, options, row.where) if is_choice else str(truth),
        problem_type=CHOICE if is_choice else "open-ended",
        options=options,
        labels=labels,
        fields=fields,
    )


def question(item: EvalItem) -> str:
    """With its options, which many official questions have already."""
    lines = option_lines(item).splitlines()
    is_whole = all(line in item.question for line in lines)
    return item.question if is_whole else "\n".join([item.question, *lines])


def form(item: EvalItem) -> str:
    """What an answer looks like."""
    if item.options:
        return f"the letter of the best option ({letter_list(item)})"
    return "your final answer (a span of time in seconds as [START, END])"


ASK = asking(question, question, form)
VCR_BENCH = register(
    Benchmark(
        name="vcrbench",
        title="VCR-Bench",
        source="huggingface.co/datasets/VLM-Reasoning/VCR-Bench",
        read=read,
        num_items=1034,
        ask=ASK,
        official=grade,
        aggregate=figures,
        breakdowns=("dimension", "duration"),
        max_tokens={"official": 2048},
        needs_judge=True,
        judge_case=case,
    )
)
