# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""VideoReasonBench (arXiv 2505.23359): what a hidden state is, was or becomes after operations that are shown.

Questions for operations have no one answer: they are simulated. The other answers are for a judge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from statistics import fmean
from typing import Any

from eval.aggregate import by_label, micro
from eval.annotations import FILE, first_of, read_annotations, unique
from eval.benchmark import Asker, Benchmark, Style, Wording, register
from eval.item import WRONG, EvalItem, Grade, Graded, Medium, Number
from eval.simulators import NOT_REACHED, reached
from eval.wording import media_marks
from verl.data.files import Row
from verl.errors import DataError
from verl.rewards.judge_prompt import JudgeCase
from verl.scoring.answers import unwrap_truth
from verl.scoring.text import loose
from verl.types import MediaMetadata

OPERATION = "prediction_operation"
LEVELS = {
    "order_operation": "1",
    "counting_operation": "1",
    "infer_state": "2",
    "comparison_state": "2",
    "prediction_state": "3",
    OPERATION: "3",
}
MERGED = {"order_state": "infer_state", "counting_state": "infer_state"}
SIZES = {"1": "1", "2": "2", "3": "1", "4": "2"}  # piles and cups, or rows of a board
RUBRIC = "The response must contain all information in the reference."
NO_STATES = "no states in the annotations"
ASKED = "as asked"

_THOUGHT = "\u25c1/think\u25b7"  # where Kimi's reasoning ends
_ASKS_OPERATIONS = re.compile(r"achieve the desired|to reach the desired|to ensure that\s*`[^`]+` contains exactly")


def final_answer(response: str) -> str | None:
    """All that follows the first "Final Answer" after the reasoning, a colon included; None without it."""
    said = response.split(_THOUGHT)
    return said[min(1, len(said) - 1)].partition("Final Answer")[2].strip() or None


def grade(item: EvalItem, response: str) -> Grade:
    """Simulated, or identical, or for a judge. Without the words "Final Answer", or without states, it is wrong."""
    answer = final_answer(response)
    if answer is None:
        return WRONG
    if item.fields["dim"] == OPERATION:
        start = item.fields.get("start")
        end = reached(str(item.fields["demo"]), item.question, start, answer) if start is not None else NOT_REACHED
        return Grade(score=float(end.published), parsed=answer, parts={ASKED: float(end.asked)})
    is_same = loose(answer) == loose(str(item.answer))
    return Grade(score=1.0 if is_same else None, parsed=answer)


def case(item: EvalItem, text: str) -> JudgeCase:
    """The question, its answer, and what the response calls its final answer."""
    answer = final_answer(text) or text
    return JudgeCase(question=item.question, references=(str(item.answer),), response=answer, rubric=RUBRIC)


def figures(rows: Sequence[Graded]) -> Mapping[str, Number]:
    """Overall, and by what is asked, how large the state is and how many operations there are."""
    named = {
        f"{label}/{name}": micro(members)
        for label in ("dimension", "level", "state size", "operations")
        for name, members in sorted(by_label(rows, label).items())
    }
    operations = by_label(rows, "dimension").get(OPERATION, [])
    asked = [row.grade.parts.get(ASKED, row.grade.score or 0.0) for row in operations]
    sense = {f"{OPERATION}, {ASKED}": Number(value=100 * fmean(asked), n=len(asked))} if asked else {}
    return {"overall": micro(rows), **named, **sense}


def read(path: Path) -> list[EvalItem]:
    """The folder of question files, or the rows of EasyVideoR1.

    Those lack the states: their questions for operations cannot be graded, and are wrong.
    """
    return list(unique(_item(row) for row in read_annotations(path)))


def _item(row: Row) -> EvalItem:
    fields = row.fields
    video = PurePosixPath(first_of(row, "path", "video")).as_posix().removeprefix("videos/")
    demo, question = video.split("/")[0], str(first_of(row, "problem", "question"))
    is_operation = str(fields.get("dim") or "") == OPERATION or bool(_ASKS_OPERATIONS.search(question))
    dim = OPERATION if is_operation else str(fields.get("dim") or "")
    answer = unwrap_truth(fields.get("solution", fields.get("answer")))
    if dim and dim not in LEVELS and dim not in MERGED:
        raise DataError(f"{row.where}: {dim!r} is no dimension of VideoReasonBench")
    if not is_operation and answer in (None, ""):
        raise DataError(f"{row.where}: there is no answer")
    start = _start(row, demo) if is_operation and "states" in fields else None
    name = str(fields["problem_id"]) if "problem_id" in fields else f"{fields.get(FILE)}/{first_of(row, 'key')}"
    return EvalItem(
        id=name,
        video=video,
        media=(Medium(path=video),),
        question=question,
        answer=None if is_operation else str(answer),
        problem_type="open-ended",
        labels=_labels(row, dim, demo, ungraded=is_operation and start is None),
        fields={"dim": dim, "demo": demo, **({"start": start} if start is not None else {})},
    )


def _labels(row: Row, dim: str, demo: str, *, ungraded: bool) -> dict[str, tuple[str, ...]]:
    fields = row.fields
    size, count = fields.get("num_state"), fields.get("num_operation")
    if (size is not None and str(size) not in SIZES) or (count is not None and not str(count).isdecimal()):
        raise DataError(f"{row.where}: numbers of states and operations {size, count} are not known")
    labels: dict[str, tuple[str, ...]] = {"demo": (demo,)}
    if dim:
        dimension = MERGED.get(dim, dim)
        labels |= {"dimension": (dimension,), "level": (LEVELS[dimension],)}
    if size is not None:
        labels["state size"] = (SIZES[str(size)],)
    if count is not None:
        labels["operations"] = ("5-9" if int(count) < 10 else "10-14",)
    return labels | ({"not gradable": (NO_STATES,)} if ungraded else {})


def _start(row: Row, demo: str) -> dict[str, Any]:
    """The state before the operations asked for: the first where the video shows its last one, else the last."""
    place = 0 if first_of(row, "visible_time") == "end" else -1
    states = first_of(row, "states")
    if demo == "file_sys":
        return {"state": {path: list(held.values())[place] for path, held in states.items()}}
    if isinstance(states, Mapping):
        return {"state": {name: held[place] for name, held in states.items()}}
    return {"state": states[place], **({"coord": row.fields["coords"][place]} if "coords" in row.fields else {})}


def _asking(closing: str) -> Asker:
    def ask(item: EvalItem, media: Sequence[MediaMetadata]) -> Wording:
        return Wording(user=f"{media_marks(item)}{item.question}{closing}")

    return ask


_ASK: Mapping[Style, Asker] = {  # every question says how its answer must begin
    "official": _asking(""),
    "instruct": _asking(" Write nothing else."),
    "thinking": _asking(" Think first, inside <think> </think> tags."),
}

register(
    Benchmark(
        name="videoreasonbench",
        title="VideoReasonBench",
        source="huggingface.co/datasets/lyx97/reasoning_videos and github.com/llyx97/video_reason_bench",
        read=read,
        num_items=1440,
        ask=_ASK,
        official=grade,
        aggregate=figures,
        breakdowns=("demo",),
        max_tokens={"official": 2048},
        needs_judge=True,
        judge_case=case,
    )
)
