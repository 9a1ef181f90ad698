# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Video-MMLU (arXiv 2504.14693), the descriptions of lectures, from EasyVideoR1's rows, which have no question.

No script is followed here: the words are ours, and a judge grades a description by the right one.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from eval.aggregate import accuracy
from eval.annotations import first_of, read_annotations, unique
from eval.benchmark import Benchmark, register
from eval.item import WRONG, EvalItem, Grade, Medium
from eval.wording import asking
from verl.data.files import Row
from verl.errors import DataError
from verl.rewards.judge_prompt import JudgeCase
from verl.scoring.answers import unwrap_truth
from verl.scoring.text import loose

QUESTION = "Describe this lecture in detail: what is said, shown and written, in its order."
SCALE = 10  # the judge's best grade


def grade(item: EvalItem, response: str) -> Grade:
    """The very words of the right description are right; everything else is for a judge."""
    if not response.strip():
        return WRONG
    return Grade(score=1.0 if loose(response) == loose(str(item.answer)) else None, parsed=response.strip())


def case(item: EvalItem, text: str) -> JudgeCase:
    """A description, and the right one."""
    return JudgeCase(question=item.question, references=(str(item.answer),), response=text, scale=SCALE)


def read(path: Path) -> list[EvalItem]:
    """Rows with a path and a solution. Raises DataError."""
    return list(unique(_item(row) for row in read_annotations(path)))


def _item(row: Row) -> EvalItem:
    video = PurePosixPath(first_of(row, "path")).as_posix()
    if not (truth := unwrap_truth(first_of(row, "solution"))):
        raise DataError(f"{row.where}: there is no description in 'solution'")
    return EvalItem(
        id=str(first_of(row, "problem_id")),
        video=video,
        media=(Medium(path=video),),
        question=str(row.fields.get("problem") or QUESTION),
        answer=str(truth),
        problem_type="caption",
    )


def _question(item: EvalItem) -> str:
    return item.question


def _form(item: EvalItem) -> str:
    return "the description"


register(
    Benchmark(
        name="videommlu",
        title="Video-MMLU descriptions",
        source="https://huggingface.co/datasets/Enxin/Video-MMLU",
        read=read,
        num_items=1065,
        ask=asking(_question, _question, _form),
        official=grade,
        aggregate=accuracy,
        max_tokens={"official": 1024},
        needs_judge=True,
        judge_case=case,
    )
)
