# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""OVO-Bench (arXiv 2501.05510): twelve tasks about a video that is still running, in three categories."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from string import ascii_uppercase

from eval.aggregate import by_label, macro, micro
from eval.annotations import bare_options, first_of, index_answer, letter_answer, read_annotations, unique
from eval.benchmark import Benchmark, register
from eval.choices import letter_list, option_lines
from eval.grading import CHOICE
from eval.item import EvalItem, Grade, Graded, Medium, Number
from eval.wording import asking
from verl.data.files import Row
from verl.errors import DataError
from verl.scoring.answers import unwrap_truth

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "backward": ("EPM", "ASI", "HLD"),
    "realtime": ("OCR", "ACR", "ATR", "STU", "FPD", "OJR"),
    "forward": ("REC", "SSR", "CRR"),
}
_LABEL = re.compile(r"[A-Z]:\s*")
_NO_MORE = "Do not include any additional text or explanation in your response.\n"
_YES_OR_NO = "Answer only with \u201cYes\u201d or \u201cNo\u201d.\n" + _NO_MORE
_CHOICE = (
    "\nQuestion: {question}\nOptions:\n{options};\n\nRespond only with the letter corresponding to your chosen option"
    " (e.g., A, B, C). \n" + _NO_MORE
)
_COUNT = (
    "\nYou're watching a video in which people may perform a certain type of action repetively. \nThe person performing"
    " this kind of action are referred to as 'they' in the following statement.\nYou're task is to count how many times"
    " have different people in the video perform this kind of action in total.\nOne complete motion counts as one."
    " \nNow, answer the following question: {question}\nProvide your answer as a single number (e.g., 0, 1, 2, 3\u2026)"
    " indicating the total count.\n" + _NO_MORE
)
_STEP = (
    "\nYou're watching a tutorial video which contain a sequential of steps. \nThe following is one step from the whole"
    " procedures: \n{question}\nYour task is to determine if the man or woman in the video is currently performing this"
    " step.\n" + _YES_OR_NO
)
_READY = (
    "\nYou're responsible of answering questions based on the video content. \nThe following question are relevant to"
    " the latest frames, i.e. the end of the video.\n{question}\nDecide whether existing visual content, especially"
    " latest frames, i.e. frames that near the end of the video, provide enough information for answering the"
    " question.\n" + _YES_OR_NO
)
_FORWARD = {"REC": _COUNT, "SSR": _STEP, "CRR": _READY}
_OURS = {
    "REC": "{question}",
    "SSR": 'Is the person in the video performing this step right now, at its end: "{question}"?',
    "CRR": "Does what has been seen so far tell the answer to this question: {question}",
}


def grade(item: EvalItem, response: str) -> Grade:
    """The true letter or word anywhere in the response; for counts, all of its digits in a row."""
    task, truth = item.labels["task"][0], str(item.answer)
    if task == "REC":
        digits = "".join(re.findall(r"\d+", response))
        return Grade(score=float(digits == truth), parsed=digits or None)
    said = truth in response or (task in _FORWARD and response == truth[:1])
    return Grade(score=float(said), parsed=response.strip() or None)


def figures(rows: Sequence[Graded]) -> Mapping[str, Number]:
    """The mean of three categories, each the mean of its tasks; then categories and tasks."""
    tasks = {task: micro(members) for task, members in by_label(rows, "task").items()}
    categories = {
        category: macro({task: tasks[task] for task in members if task in tasks})
        for category, members in CATEGORIES.items()
        if any(task in tasks for task in members)
    }
    return {"overall": macro(categories), **categories, **tasks}


def reader(*, chunked: bool) -> Callable[[Path], list[EvalItem]]:
    """Reads the official file or that of EasyVideoR1.

    `chunked`: media are the excerpts of the authors, "12.mp4", "1469_3.mp4". Otherwise they are whole videos, of which
    the part up to the moment of the question is shown.
    """

    def read(path: Path) -> list[EvalItem]:
        return list(unique(item for row in read_annotations(path, "*_new.json") for item in _items(row, chunked)))

    return read


def _items(row: Row, chunked: bool) -> Iterator[EvalItem]:
    fields, task = row.fields, str(first_of(row, "task", "ovo_task"))
    if not any(task in members for members in CATEGORIES.values()):
        raise DataError(f"{row.where}: {task!r} is no task of OVO-Bench")
    if "ovo_task" in fields:
        yield _converted(row, task)
    elif task not in _FORWARD:
        options = bare_options(first_of(row, "options"), row.where)
        truth = index_answer(first_of(row, "gt"), options, row.where)
        yield _item(_asked(row, None, chunked), task, str(first_of(row, "question")), truth, options)
    else:
        for number, moment in enumerate(first_of(row, "test_info")):
            inner = Row(where=f"{row.where}, moment {number}", fields={**fields, **moment})
            truth = str(first_of(inner, "count")) if task == "REC" else _yes_no(inner, "type")
            question = _forward_question(inner, task)
            yield _item(_asked(inner, number, chunked), task, question, truth, ())


def _forward_question(row: Row, task: str) -> str:
    if task == "REC":
        return f"How many times did they {first_of(row, 'activity')}?"
    return str(first_of(row, "step" if task == "SSR" else "question"))


def _asked(row: Row, number: int | None, chunked: bool) -> tuple[str, Medium, Row]:
    """Id and medium of one moment."""
    name = str(first_of(row, "id")) if number is None else f"{first_of(row, 'id')}_{number}"
    if chunked:
        return name, Medium(path=f"{name}.mp4"), row
    return name, Medium(path=str(first_of(row, "video")), end=float(first_of(row, "realtime"))), row


def _converted(row: Row, task: str) -> EvalItem:
    written = [_LABEL.sub("", str(option), count=1) for option in row.fields.get("options") or ()]
    truth = str(unwrap_truth(first_of(row, "solution")))
    truth = letter_answer(truth, written, row.where) if task not in _FORWARD else truth
    medium = Medium(path=PurePosixPath(first_of(row, "path")).as_posix())
    return _item(
        (str(first_of(row, "problem_id")), medium, row), task, str(first_of(row, "problem")), truth, tuple(written)
    )


def _item(asked: tuple[str, Medium, Row], task: str, question: str, truth: str, options: tuple[str, ...]) -> EvalItem:
    name, medium, row = asked
    (category,) = (category for category, tasks in CATEGORIES.items() if task in tasks)
    kinds = {"REC": "numerical", "SSR": "boolean", "CRR": "boolean"}
    return EvalItem(
        id=name,
        video=str(row.fields.get("video") or row.fields.get("ovo_id") or medium.path),
        media=(medium,),
        question=question,
        answer=truth,
        problem_type=kinds.get(task, CHOICE),
        options=options,
        labels={"task": (task,), "category": (category,)},
        fields=row.fields,
    )


def _yes_no(row: Row, column: str) -> str:
    value = first_of(row, column)
    if value not in (0, 1):
        raise DataError(f"{row.where}: {column} is {value!r}, not 0 or 1")
    return ("No", "Yes")[int(value)]


def _official(item: EvalItem) -> str:
    task = item.labels["task"][0]
    options = "; ".join(f"{letter}. {text}" for letter, text in zip(ascii_uppercase, item.options, strict=False))
    return _FORWARD.get(task, _CHOICE).format(question=item.question, options=options)


def _question(item: EvalItem) -> str:
    if item.options:
        return f"{item.question}\n{option_lines(item)}"
    return _OURS[item.labels["task"][0]].format(question=item.question)


def _form(item: EvalItem) -> str:
    if item.options:
        return f"the letter of the best option ({letter_list(item)})"
    return "the number" if item.labels["task"][0] == "REC" else "Yes or No"


for _name, _title, _chunked in (
    ("ovobench", "OVO-Bench", False),
    ("ovobench_chunked", "OVO-Bench (the authors' excerpts)", True),
):
    register(
        Benchmark(
            name=_name,
            title=_title,
            source="huggingface.co/datasets/JoeLeelyf/OVO-Bench",
            read=reader(chunked=_chunked),
            num_items=3035,
            ask=asking(_official, _question, _form),
            official=grade,
            aggregate=figures,
        )
    )
