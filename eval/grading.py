# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A response and its item to grades: the benchmark's own, and ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eval.benchmark import Benchmark, Style
from eval.item import WRONG, EvalItem, Grade
from eval.robust import pick_letter
from verl.rewards.contract import find_task
from verl.scoring.answers import Carrier, read_answer
from verl.scoring.choices import Options
from verl.types import MediaMetadata, NotScorable, Record

CHOICE = "multiple choice"
BARE_CHARS = 2_000  # a response without tags may be all answer
MAX_CHARS = 100_000


def official_grade(benchmark: Benchmark, style: Style, item: EvalItem, response: str) -> Grade:
    """The benchmark's grade. What was thought is not part of the answer; our own prompts ask for answer tags, which an
    official script would trip over, so there it reads what stands in them.
    """
    answer = read_answer(response, BARE_CHARS)
    if style != "official" and answer.carrier is Carrier.TAG:
        return benchmark.official(item, answer.text)
    return benchmark.official(item, after_thinking(response))


def sized(item: EvalItem, media: Sequence[MediaMetadata]) -> EvalItem:
    """`item` with the sizes of the media that were shown, by which relative boxes are graded; blind, as it is."""
    if len(media) != len(item.media):
        return item
    sizes = [(one.source_height, one.source_width) for one in media]
    known = [replace(one, size=size if all(size) else one.size) for one, size in zip(item.media, sizes, strict=True)]
    return replace(item, media=tuple(known))


def after_thinking(response: str) -> str:
    """`response` without its reasoning, which an answer tag ends as well; nothing while it still thinks."""
    rest = response.rpartition("</think>")[2]
    if "<think>" in rest:
        _, opened, rest = rest.partition("<answer>")
        rest = opened + rest
    return rest if rest == response else rest.strip()  # what scripts make of spaces around an answer is theirs


def robust_grade(item: EvalItem, response: str) -> Grade | None:
    """Our reading of the same answer, without a look at the truth; None where our tasks have none for the item."""
    if item.problem_type == CHOICE:
        letter = pick_letter(response[-MAX_CHARS:], item.options)
        truth = Options.of(item.options).pick(str(item.answer))
        return WRONG if letter is None else Grade(score=float(letter == truth), parsed=letter)
    return _by_task(item, response)


def _by_task(item: EvalItem, response: str) -> Grade | None:
    record = Record(
        id=item.id,
        where=item.id,
        problem=item.question,
        answer=item.answer,
        problem_type=item.problem_type,
        data_type="video",
        options=item.options,
    )
    task = find_task(item.problem_type)
    truth = task if isinstance(task, NotScorable) or item.answer is None else task.truth(record)
    if isinstance(task, NotScorable) or isinstance(truth, NotScorable) or item.answer is None:
        return None
    answer = read_answer(response, max(task.bare_chars, BARE_CHARS))
    if not 0 < len(answer.text) <= task.max_chars:
        return WRONG
    grade = task.grade(answer.text, truth, record)
    if isinstance(grade, NotScorable):
        return None
    parsed = answer.text if grade.is_readable else None
    return Grade(score=grade.accuracy, parsed=parsed, parts=dict(grade.parts))
