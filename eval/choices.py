# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Multiple-choice benchmarks as data: which columns, which words, which reading of a letter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from string import Formatter, ascii_uppercase
from typing import Any, TypeAlias

from eval.aggregate import accuracy
from eval.annotations import (
    NO_OPTION,
    letter_answer,
    option_texts,
    read_annotations,
    read_options,
    split_options,
    unique,
)
from eval.benchmark import Aggregate, Asker, Benchmark, Budget, Grader, Style, Wording
from eval.grading import CHOICE
from eval.item import EvalItem, Grade, Medium, Subtitle
from eval.subtitles import on_frames, subtitle_folder
from verl.data.files import Row
from verl.errors import DataError
from verl.types import IMAGE_MARK, VIDEO_MARK, MediaMetadata, VideoMetadata

DEFAULT_BUDGET = Budget()
log = logging.getLogger(__name__)

Fields: TypeAlias = Mapping[str, Any]
Truth: TypeAlias = Callable[[Any, Sequence[str], str], str]  # value, options, where -> letter
Label: TypeAlias = str | Callable[[Fields], Iterable[str]]  # a column, or how its categories are found
Heard: TypeAlias = Callable[[Traversable, Fields], tuple[Subtitle, ...]]  # folder of subtitles, row -> subtitles
Shown: TypeAlias = Callable[[Sequence[Subtitle], Sequence[float]], str]  # subtitles, times of frames -> text

INSTRUCT = "Write only {form}, inside <answer> </answer> tags, and nothing else."
THINKING = (
    "Think first, inside <think> </think> tags. Then write only {form}, inside <answer> </answer> tags, and nothing"
    " after it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Where rows keep what a question needs. In `id` and `video` columns stand in braces: "videos/{videoID}.mp4"."""

    id: str
    video: str
    question: str = "question"
    options: str | tuple[str, ...] | None = "options"  # several: one option each; None: they stand in the question
    are_labelled: bool = True  # "A. red"; False: options are bare and a letter before one is part of it
    answer: str = "answer"
    truth: Truth = letter_answer
    start: str = "start"  # of the excerpt, in seconds, where a row has it
    end: str = "end"
    folder_fps: str = "folder_fps"  # frame rate of a video that is a folder of frames, where a row has it
    labels: Mapping[str, Label] = field(default_factory=dict)

    def missing(self, fields: Fields) -> list[str]:
        """The columns that a row lacks."""
        options = (self.options,) if isinstance(self.options, str) else (self.options or ())[:1]
        named = [name for text in (self.id, self.video) for _, name, _, _ in Formatter().parse(text) if name]
        return [name for name in (*named, self.question, *options, self.answer) if name not in fields]


CONVERTED = Columns(id="{problem_id}", video="{path}", question="problem", answer="solution")  # EasyVideoR1's files


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The published prompt. {question}, {options} and {letters} are filled in; media come first."""

    user: str
    option: str = "{letter}. {text}"
    between: str = "\n"
    last: str = ", or "  # before the last of three letters and more
    system: str | None = None
    prefix: str = ""
    subtitles: str = "This video's subtitles are listed below:\n{subtitles}\n"  # before all that, where there are some
    silent: str = ""  # before all that, where subtitles are shown and there are none


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtitles:
    """Where subtitles are read from, and which of them a model is shown."""

    read: Heard
    show: Shown = lambda subtitles, times: "\n".join(one.text for one in on_frames(subtitles, times))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """A multiple-choice benchmark."""

    name: str
    title: str
    source: str
    num_items: int
    columns: Sequence[Columns]  # the first whose columns a row has is used
    words: Words
    official: Grader
    files: str = "*"  # which files of a folder are its annotations
    rows: Callable[[Row], Iterable[Row]] = lambda row: (row,)  # a row to its questions
    breakdowns: tuple[str, ...] = ()
    aggregate: Aggregate = accuracy
    subtitles: Subtitles | None = None
    budget: Budget = DEFAULT_BUDGET
    max_tokens: Mapping[Style, int] = field(default_factory=dict)
    folder: str | None = None


def multiple_choice(choices: Choices) -> Benchmark:
    """The benchmark that `choices` describes, in all styles."""
    return Benchmark(
        name=choices.name,
        title=choices.title,
        source=choices.source,
        read=lambda path: list(unique(_items(choices, path))),
        num_items=choices.num_items,
        ask=asking(choices.words, choices.subtitles),
        official=choices.official,
        aggregate=choices.aggregate,
        breakdowns=choices.breakdowns,
        budget=choices.budget,
        max_tokens=choices.max_tokens,
        folder=choices.folder,
    )


def by_letter(read: Callable[[str], str]) -> Grader:
    """Grades by a function that reads a letter, or nothing, out of a response."""

    def grade(item: EvalItem, response: str) -> Grade:
        letter = read(response)
        return Grade(score=float(letter != "" and letter == item.answer), parsed=letter or None)

    return grade


def _items(choices: Choices, path: Path) -> Iterator[EvalItem]:
    heard = subtitle_folder(path) if choices.subtitles else None
    for row in read_annotations(path, choices.files):
        for question in choices.rows(row):
            item = read_item(question, choices.columns)
            if choices.subtitles and heard:
                item = replace(item, subtitles=choices.subtitles.read(heard, question.fields))
            yield item


def read_item(row: Row, columns: Sequence[Columns]) -> EvalItem:
    """A row as a question. Raises DataError naming the row, and what it lacks or holds instead."""
    fields, lacking = row.fields, [one.missing(row.fields) for one in columns]
    if all(lacking):
        fewest = min(lacking, key=lambda names: len(names))
        known = ", ".join(map(str, fields))
        raise DataError(f"{row.where}: there is no column {' and no '.join(map(repr, fewest))} (columns: {known})")
    named = columns[lacking.index([])]
    question, options = _question(row, named)
    answer = named.truth(fields[named.answer], options, row.where)
    if not answer:
        log.warning("%s: its answer %r is none of its options: no response is right", row.where, fields[named.answer])
    video = PurePosixPath(_filled(named.video, fields, row.where)).as_posix()
    return EvalItem(
        id=_filled(named.id, fields, row.where),
        video=video,
        media=(_medium(video, fields, named, row.where),),
        question=question,
        answer=answer,
        problem_type=CHOICE,
        options=options,
        labels=_labels(fields, named),
        fields=fields,
    )


def _question(row: Row, columns: Columns) -> tuple[str, tuple[str, ...]]:
    question, fields = str(row.fields[columns.question]).strip(), row.fields
    if columns.options is None:
        question, options = split_options(question)
    elif not isinstance(columns.options, str):
        given = [fields.get(name) for name in columns.options]
        while given and given[-1] in NO_OPTION:
            given.pop()
        options = tuple("" if one is None else str(one) for one in given)
    elif columns.are_labelled:
        options = read_options(fields[columns.options], row.where)
    else:
        options = option_texts(fields[columns.options], row.where)
    if not options:
        raise DataError(f"{row.where}: there are no options in {columns.options or columns.question!r}")
    return question, options


def _filled(pattern: str, fields: Fields, where: str) -> str:
    text = pattern.format_map(fields)
    if not text or any(fields[name] in (None, "") for _, name, _, _ in Formatter().parse(pattern) if name):
        raise DataError(f"{where}: {pattern} is empty")
    return text


def _medium(video: str, fields: Fields, columns: Columns, where: str) -> Medium:
    given = [fields.get(name) for name in (columns.start, columns.end, columns.folder_fps)]
    try:
        start, end, rate = (None if value in (None, "") else float(value) for value in given)
    except (TypeError, ValueError):
        raise DataError(f"{where}: start, end and frame rate {given} are not all numbers") from None
    if start is not None and end is not None and start >= end:
        raise DataError(f"{where}: the excerpt from {start} to {end} is empty")
    return Medium(path=video, start=start, end=end, folder_fps=rate)


def _labels(fields: Fields, columns: Columns) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, label in columns.labels.items():
        value = label(fields) if callable(label) else fields.get(label)
        categories = [value] if isinstance(value, str | int | float) else (value or [])
        if texts := tuple(str(one) for one in categories if one not in (None, "")):
            found[name] = texts
    return found


def asking(words: Words, subtitles: Subtitles | None = None) -> dict[Style, Asker]:
    """The published words, and ours."""
    show = subtitles.show if subtitles else None

    def official(item: EvalItem, media: Sequence[MediaMetadata]) -> Wording:
        user = words.user.format(
            question=item.question, options=option_lines(item, words), letters=letter_list(item, words.last)
        )
        heard = _heard(words, show, item, media)
        return Wording(user=_marks(item) + heard + user, system=words.system, prefix=words.prefix)

    def ours(closing: str) -> Asker:
        def ask(item: EvalItem, media: Sequence[MediaMetadata]) -> Wording:
            letters = letter_list(item)
            form = f"the letter of the best option ({letters})" if item.options else "your final answer"
            lines = [item.question, *([option_lines(item)] if item.options else []), closing.format(form=form)]
            return Wording(user=_marks(item) + _heard(words, show, item, media) + "\n".join(lines))

        return ask

    return {"official": official, "instruct": ours(INSTRUCT), "thinking": ours(THINKING)}


def option_lines(item: EvalItem, words: Words | None = None) -> str:
    """The options with their letters."""
    form, between = (words.option, words.between) if words else ("{letter}. {text}", "\n")
    letters = zip(ascii_uppercase, item.options, strict=False)
    return between.join(form.format(letter=letter, text=text) for letter, text in letters)


def letter_list(item: EvalItem, last: str = ", or ") -> str:
    """The letters that are options: "A", "A or B", "A, B, or C"."""
    letters = ascii_uppercase[: len(item.options)]
    return " or ".join(letters) if len(letters) < 3 else ", ".join(letters[:-1]) + last + letters[-1]


def _marks(item: EvalItem) -> str:
    return "".join(IMAGE_MARK if one.kind == "image" else VIDEO_MARK for one in item.media)


def _heard(words: Words, show: Shown | None, item: EvalItem, media: Sequence[MediaMetadata]) -> str:
    """What is said while the frames are taken; in silence, and without a video, what stands for that."""
    if show is None:
        return ""
    times = [time for one in media if isinstance(one, VideoMetadata) for time in one.timestamps]
    text = show(item.subtitles, times) if item.subtitles and times else ""
    return words.subtitles.format(subtitles=text) if text else words.silent
