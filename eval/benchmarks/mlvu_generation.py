# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""MLVU (arXiv 2406.04264), the tasks without options: describing a scene of a long video, and summing all of it up.

A judge gives two grades from 1 to 5 to each response. G-Avg is the mean over both tasks of their sums, from 2 to 10.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from eval.aggregate import by_label, macro
from eval.annotations import FILE, ROW, first_of, read_annotations, unique
from eval.benchmark import Asker, Benchmark, Style, Wording, register
from eval.benchmarks.mlvu import GENERATION, media_folder
from eval.choices import THINKING
from eval.item import WRONG, EvalItem, Grade, Graded, Medium, Number
from eval.judge import final_answer, told_response
from eval.wording import media_marks, tagged
from verl.data.files import Row
from verl.errors import DataError
from verl.rewards.inquiry import Inquirer, Inquiry, object_of, read_object
from verl.types import MediaMetadata, NotScorable

LOWEST, HIGHEST = 1, 5
MAX_REPLY_CHARS = 24_000
MAX_TOKENS = 1024
SYSTEM = (
    "Carefully watch this video and pay attention to every detail. Based on your observations, answer the given"
    " questions."
)

_SCALE = 'In "rationale" say in a few sentences why, before you give the grades.'
_SUB_SCENE = f"""\
Give "response", which describes a scene of a video to answer "question", two grades from 1 to 5.

score_accuracy: grade the response on each of "scoring_points" (1: it misses the point; 3: it has something of it,
but not all or not all right; 5: it has the point right) and give the mean of these grades.

score_relevance: how well it keeps to the question, be it right or wrong. 1: it is about something else. 2: in
part, with much that does not belong there. 3: mostly, but unsure of itself. 4: nearly always, and sure of itself. 5:
always, sure of itself, with nothing that does not belong there.

{_SCALE}"""
_SUMMARY = f"""\
Give "response", a summary of a video, two whole grades from 1 to 5 by "reference", the right summary.

score_completeness: how much of what matters in the video it has. 1: hardly anything. 2: some, much is missing. 3:
most. 4: nearly all. 5: all.

score_reliability: how right and how clear it is. What the reference does not have takes nothing away as long as it
fits and could be. 1: several errors and contradictions, confused. 2: some errors or contradictions, could be
clearer. 3: right but for small errors, clear enough. 4: hardly an inaccuracy, no contradiction, clear. 5: no error
at all, easy to follow.

{_SCALE}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One of the two tasks: its grades, and what its judge is told."""

    name: str
    grades: tuple[str, str]
    instructions: str

    def read(self, text: str) -> tuple[float, float] | None:
        """The two grades in a reply, an object in JSON or in Python; None without both of them, from 1 to 5."""
        value = read_object(text) or _literal(text)
        first, second = (_as_grade(value.get(name)) for name in self.grades)
        return (first, second) if first and second else None


SUB_SCENE = Task(name="sub-scene captioning", grades=("score_accuracy", "score_relevance"), instructions=_SUB_SCENE)
SUMMARY = Task(name="video summary", grades=("score_completeness", "score_reliability"), instructions=_SUMMARY)
TASKS = {name: SUMMARY if name == "summary" else SUB_SCENE for name in GENERATION}


def _literal(text: str) -> Mapping[str, object]:
    try:
        value = ast.literal_eval(text.strip()) if len(text) < MAX_REPLY_CHARS else None
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return {}
    return value if isinstance(value, dict) else {}


def _as_grade(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if LOWEST <= value <= HIGHEST else None


def judge(judge: Inquirer, item: EvalItem, response: str) -> Grade | str:
    """One inquiry; its two grades are the parts."""
    text = final_answer(response)
    if not text:
        return WRONG
    task = _task(item)
    told: dict[str, object] = {"question": item.question, **told_response(text)}
    told |= {"scoring_points": item.fields["points"]} if task is SUB_SCENE else {"reference": item.answer}
    number = {"type": "number", "minimum": LOWEST, "maximum": HIGHEST}
    form = object_of(rationale={"type": "string"}, **dict.fromkeys(task.grades, number))
    inquiry = Inquiry(instructions=task.instructions, told=told, form=form, read=task.read, max_tokens=MAX_TOKENS)
    grades = judge.inquire(inquiry)
    if isinstance(grades, NotScorable):
        return grades.reason
    span = 2 * (HIGHEST - LOWEST)
    return Grade(
        score=(sum(grades) - 2 * LOWEST) / span, parsed=text, parts=dict(zip(task.grades, grades, strict=True))
    )


def _task(item: EvalItem) -> Task:
    return TASKS[item.fields["question_type"]]


def figures(rows: Sequence[Graded]) -> Mapping[str, Number]:
    """G-Avg, the sums of the tasks and their grades. What failed or was not judged has the lowest grades."""
    found: dict[str, Number] = {}
    totals: dict[str, Number] = {}
    for name, members in by_label(rows, "task").items():
        task = SUMMARY if name == SUMMARY.name else SUB_SCENE
        means = [fmean(row.grade.parts.get(grade, float(LOWEST)) for row in members) for grade in task.grades]
        totals[f"{name} (2 to 10)"] = Number(value=sum(means), n=len(members))
        found |= {
            f"{name} {grade.removeprefix('score_')} (1 to 5)": Number(value=mean, n=len(members))
            for grade, mean in zip(task.grades, means, strict=True)
        }
    return {"G-Avg (2 to 10)": macro(totals), **totals, **found}


def read(path: Path) -> list[EvalItem]:
    """The rows without options: `8_sub_scene.json` and `9_summary.json`, or those of the test set. Raises DataError."""
    return list(unique(_item(row) for row in read_annotations(path) if row.fields.get("question_type") in TASKS))


def _item(row: Row) -> EvalItem:
    kind = row.fields["question_type"]
    task, points = TASKS[kind], row.fields.get("scoring_points")
    if task is SUB_SCENE and not points:
        raise DataError(f"{row.where}: a scene is graded by its column 'scoring_points', which is not there")
    video = f"{media_folder(row)}/{first_of(row, 'video')}"
    return EvalItem(
        id=str(row.fields.get("question_id") or f"{row.fields[FILE]}-{row.fields[ROW]}"),
        video=video,
        media=(Medium(path=video),),
        question=str(first_of(row, "question")),
        answer=str(first_of(row, "answer")) if task is SUMMARY else str(row.fields.get("answer", "")),
        problem_type="graded text",  # by a judge alone
        labels={"task": (task.name,)},
        fields={"question_type": kind, "points": [points] if isinstance(points, str) else points},
    )


def grade(item: EvalItem, response: str) -> Grade:
    """Nothing is wrong; everything else is for a judge."""
    return Grade(score=None, parsed=response.strip()) if response.strip() else WRONG


def _official(item: EvalItem, media: Sequence[MediaMetadata]) -> Wording:
    return Wording(user=media_marks(item) + item.question, system=SYSTEM)


def _question(item: EvalItem) -> str:
    return item.question


def _form(item: EvalItem) -> str:
    return "your answer"


ASK: dict[Style, Asker] = {
    "official": _official,
    "instruct": _official,  # nothing to be kept to
    "thinking": tagged(_question, _form, THINKING),
}

for _name, _title, _source, _count in (
    ("mlvu_dev_generation", "MLVU dev, generation", "https://huggingface.co/datasets/MLVU/MVLU", 418),
    ("mlvu_test_generation", "MLVU test, generation", "https://huggingface.co/datasets/MLVU/MLVU_Test", None),
):
    register(
        Benchmark(
            name=_name,
            title=_title,
            source=_source,
            read=read,
            num_items=_count,
            ask=ASK,
            official=grade,
            aggregate=figures,
            max_tokens={"official": 1024, "instruct": 1024},
            needs_judge=True,
            judging=judge,
            folder=_name.removesuffix("_generation"),
        )
    )
