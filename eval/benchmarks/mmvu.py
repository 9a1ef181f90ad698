# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""MMVU (arXiv 2501.12380), validation set: 625 questions of experts with five options, and 375 open ones.

Its script has GPT-4o judge every response. Here a letter decides, where one can be read without doubt, and the judge is
asked about open questions alone, and not about what equals the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from eval.aggregate import accuracy
from eval.annotations import first_of, read_annotations, unique
from eval.benchmark import Asker, Benchmark, Style, Wording, register
from eval.choices import CONVERTED, Choices, Columns, Fields, Words, asking, multiple_choice, read_item
from eval.item import WRONG, EvalItem, Grade
from eval.robust import pick_letter
from verl.data.files import Row
from verl.errors import DataError
from verl.scoring.answers import read_answer, unwrap_truth
from verl.scoring.text import normalize, unwrap
from verl.types import MediaMetadata

OPEN = "open-ended"
BARE_CHARS = 2_000

_TASK = (
    " step by step. Begin by explaining your reasoning process clearly. Conclude by stating the final answer using the"
    " following format: 'Therefore, the final answer is: "
)
WORDS = Words(
    user="\nQuestion: {question}\n{options}\n\nAnswer the given multiple-choice question"
    + _TASK
    + "$LETTER' (without quotes), where $LETTER is one of the options. Think step by\nstep before answering.",
    option="{letter}: {text}",
)
OPEN_WORDS = Words(
    user="\nQuestion: {question}\n\nAnswer the given question"
    + _TASK
    + "'Answer: $ANSWER' (without quotes), where $ANSWER is the final answer of the question. Think step by step\n"
    "before answering."
)


def is_open(row: Row) -> bool:
    """Whether a question has no options."""
    return str(row.fields.get("question_type") or row.fields.get("problem_type")) == OPEN


def located(row: Row) -> Row:
    """The row with the path of its video, which the official file gives as an address."""
    if "path" in row.fields:
        return row
    parts = PurePosixPath(str(first_of(row, "video"))).parts[-2:]
    if len(parts) < 2:
        raise DataError(f"{row.where}: the video {row.fields['video']!r} does not end in SUBJECT/NAME.mp4")
    return Row(where=row.where, fields={**row.fields, "path": f"videos/{parts[0]}/{parts[1]}"})


def subject(fields: Fields) -> list[str]:
    """The subject, which is the folder of the video."""
    return [PurePosixPath(str(fields["path"])).parent.name]


def official(item: EvalItem, response: str) -> Grade:
    """A letter, the very answer, or a question to the judge."""
    if not response.strip():
        return WRONG
    if item.problem_type == OPEN:
        answer = read_answer(response, BARE_CHARS).text or response
        is_same = _plain(answer) == _plain(str(item.answer))
        return Grade(score=1.0 if is_same else None, parsed=answer)
    letter = pick_letter(response, item.options)
    return Grade(score=float(letter == item.answer), parsed=letter)


def _plain(text: str) -> str:
    return unwrap(normalize(text).removeprefix("Answer: ")).rstrip(".").casefold()


OFFICIAL = Columns(id="{id}", video="{path}", options="choices", labels={"subject": subject})
COLUMNS = (OFFICIAL, replace(CONVERTED, labels=OFFICIAL.labels))

MMVU = Choices(
    name="mmvu",
    title="MMVU multiple choice",
    source="https://huggingface.co/datasets/yale-nlp/MMVU",
    num_items=625,
    files="*validation*",
    rows=lambda row: [] if is_open(row) else [located(row)],
    columns=COLUMNS,
    words=WORDS,
    official=official,
    breakdowns=("subject",),
    max_tokens={"official": 1024},
)


def read_all(path: Path) -> list[EvalItem]:
    """All questions, those without options as open ones."""

    def items() -> Iterator[EvalItem]:
        for row in read_annotations(path, MMVU.files):
            yield read_open(located(row)) if is_open(row) else read_item(located(row), COLUMNS)

    return list(unique(items()))


def read_open(row: Row) -> EvalItem:
    """An open question: one of a single option, without its letter."""
    columns = [replace(one, options=(one.answer,), truth=lambda value, options, where: "A") for one in COLUMNS]
    item = read_item(row, columns)
    return replace(item, problem_type=OPEN, options=(), answer=unwrap_truth(item.options[0]))


def by_type(style: Style) -> Asker:
    """The words for a question with options, or for one without."""

    def ask(item: EvalItem, media: Sequence[MediaMetadata]) -> Wording:
        return asking(OPEN_WORDS if item.problem_type == OPEN else WORDS)[style](item, media)

    return ask


register(multiple_choice(MMVU))
register(
    Benchmark(
        name="mmvu_all",
        title="MMVU",
        source=MMVU.source,
        read=read_all,
        num_items=1000,
        ask={"official": by_type("official"), "instruct": by_type("instruct"), "thinking": by_type("thinking")},
        official=official,
        aggregate=accuracy,
        breakdowns=MMVU.breakdowns,
        max_tokens=MMVU.max_tokens,
        needs_judge=True,
        folder=MMVU.name,
    )
)
