# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""VCR-Bench (arXiv 2504.07956), the steps of reasoning: how many of the true ones are there, and how many are right.

A judge is asked twice about a response: which of the annotated steps it has (recall), and what each of its own steps is
worth (precision). Steps that only review the question count for efficiency alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

from eval.aggregate import by_label
from eval.benchmark import Asker, Style, register
from eval.benchmarks import vcrbench
from eval.item import WRONG, EvalItem, Grade, Graded, Number
from eval.judge import told_response
from eval.wording import tagged
from verl.errors import DataError
from verl.rewards.inquiry import Inquirer, Inquiry, object_of, read_object
from verl.types import NotScorable

SEEN, INFERRED, REVIEWED = "Video Description", "Logical Inference", "Background Review"
GROUPS: Mapping[str, tuple[str, ...]] = {"overall": (SEEN, INFERRED), "Video": (SEEN,), "logic": (INFERRED,)}
RECALL, PRECISION, EFFICIENCY = "recall", "precision", "efficiency"
MAX_STEPS = 35  # of a response
MAX_TOKENS = 4096  # of its reply

Steps: TypeAlias = tuple[tuple[str, str], ...]  # (kind of step, verdict on it)

_KINDS = f"""\
Every step is one of three kinds. "{SEEN}": what can be seen in the video and when, nothing concluded from it.
"{INFERRED}": exactly one conclusion that is new; saying what the final answer is counts as one. "{REVIEWED}":
repeats or introduces the question and does not help to answer it."""

_RECALL = f"""\
"reference_steps" are the steps that a good answer to "question" takes. Say for each of them, in their order and
leaving out none, what kind of step it is and whether "response" takes it. "Matched": the response says the same or
something from which the step follows at once, with all of its details and values. "Unmatched": anything else.

{_KINDS}"""

_PRECISION = f"""\
Divide "response", an answer to "question", into its steps of reasoning: in their order, each with one statement,
leaving out and adding nothing. Give what repeats itself as one step, at most {MAX_STEPS} in all, the last being the
one that gives the answer. Judge each by "reference_steps".

"Matched": it says what a reference step says or what follows from one at once; or it contradicts none of them and
not the right answer, is sound, and helps. Times in descriptions of the video may be 3 seconds off. "Wrong": it
contradicts the reference steps, or describes an event without its time. "Redundant": it does not help to answer; a
step of the kind "{REVIEWED}" nearly always is.

{_KINDS}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One of the two things that a judge is asked."""

    instructions: str
    verdicts: tuple[str, ...]
    names_steps: bool  # whether the reply spells each step out

    @property
    def form(self) -> dict[str, Any]:
        step: dict[str, Any] = {"step": {"type": "string"}} if self.names_steps else {}
        step |= {"kind": {"type": "string", "enum": [SEEN, INFERRED, REVIEWED]}}
        step |= {"verdict": {"type": "string", "enum": list(self.verdicts)}}
        return object_of(steps={"type": "array", "items": object_of(**step)})

    def read(self, text: str, count: int | None = None) -> Steps | None:
        """The steps of a reply; None where they are not `count`, none at all, or not in the form asked for."""
        steps = (read_object(text) or {}).get("steps")
        if not isinstance(steps, list) or not steps or (count is not None and len(steps) != count):
            return None
        found = tuple((str(one.get("kind")), str(one.get("verdict"))) for one in steps if isinstance(one, dict))
        known = len(found) == len(steps) and all(
            kind in (SEEN, INFERRED, REVIEWED) and verdict in self.verdicts for kind, verdict in found
        )
        return found if known else None


RECALLED = _Task(instructions=_RECALL, verdicts=("Matched", "Unmatched"), names_steps=False)
JUDGED = _Task(instructions=_PRECISION, verdicts=("Matched", "Wrong", "Redundant"), names_steps=True)


def judge(judge: Inquirer, item: EvalItem, response: str) -> Grade | str:
    """Two inquiries; the second is not made when the first fails. Replies are kept: a new start pays for neither."""
    text = response.strip()
    if not text:
        return WRONG
    references = _references(item)
    recalled = judge.inquire(_inquiry(RECALLED, item, text, len(references)))
    if isinstance(recalled, NotScorable):
        return f"recall: {recalled.reason}"
    judged = judge.inquire(_inquiry(JUDGED, item, text, None))
    if isinstance(judged, NotScorable):
        return f"precision: {judged.reason}"
    parts = measures(recalled, judged)
    ours = f1(parts.get(f"overall {PRECISION}", 0.0), parts.get(f"overall {RECALL}", 0.0))
    return Grade(score=ours, parsed=text, parts=parts)


def _inquiry(task: _Task, item: EvalItem, response: str, count: int | None) -> Inquiry[Steps]:
    told = {
        "question": vcrbench.question(item),
        "answer": str(item.answer),
        "reference_steps": _references(item),
        **told_response(response),
    }
    return Inquiry(
        instructions=task.instructions,
        told=told,
        form=task.form,
        read=lambda text: task.read(text, count),
        max_tokens=MAX_TOKENS,
    )


def _references(item: EvalItem) -> list[str]:
    return [str(step) for step in item.fields["reasoning"]]


def measures(recalled: Steps, judged: Steps) -> dict[str, float]:
    """Shares in [0, 1] by group of steps; those of an empty group are left out."""
    found: dict[str, float] = {}
    for group, kinds in GROUPS.items():
        for name, steps, others in ((RECALL, recalled, "Unmatched"), (PRECISION, judged, "Wrong")):
            verdicts = [verdict for kind, verdict in steps if kind in kinds and verdict in ("Matched", others)]
            if verdicts:
                found[f"{group} {name}"] = verdicts.count("Matched") / len(verdicts)
    redundant = sum(verdict == "Redundant" for _, verdict in judged)
    return found | {EFFICIENCY: 1 - redundant / len(judged)}


def f1(precision: float, recall: float) -> float:
    """Their harmonic mean; 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def figures(rows: Sequence[Graded]) -> Mapping[str, Number]:
    """F1 of the mean precision and the mean recall, for all steps and by kind; efficiency; the F1 by dimension.

    An empty group of steps is passed over. What failed or was not judged counts as 0 everywhere.
    """
    found: dict[str, Number] = {}
    for group in GROUPS:
        found |= _group(rows, group)
    found[EFFICIENCY] = _mean(rows, EFFICIENCY)
    for dimension, members in by_label(rows, "dimension").items():
        found[f"dimension/{dimension}"] = _group(members, "overall")["overall F1"]
    return found


def _group(rows: Sequence[Graded], group: str) -> dict[str, Number]:
    precision, recall = (_mean(rows, f"{group} {name}") for name in (PRECISION, RECALL))
    both = Number(value=f1(precision.value, recall.value), n=len(rows))
    return {f"{group} F1": both, f"{group} {PRECISION}": precision, f"{group} {RECALL}": recall}


def _mean(rows: Sequence[Graded], name: str) -> Number:
    """Over the rows that have it, and those that have nothing."""
    values = [row.grade.parts.get(name, 0.0) for row in rows if name in row.grade.parts or not row.grade.parts]
    return Number(value=100 * fmean(values) if values else 0.0, n=len(values))


def read(path: Path) -> list[EvalItem]:
    """`meta_info_video.json`; EasyVideoR1's rows have no steps. Raises DataError."""
    items = [replace(item, problem_type="reasoning steps") for item in vcrbench.read(path)]
    for item in items:
        steps = item.fields.get("reasoning")
        if not isinstance(steps, list) or not steps:
            raise DataError(
                f"{path}: question {item.id} has no steps in a column 'reasoning'; use meta_info_video.json"
            )
    return items


def grade(item: EvalItem, response: str) -> Grade:
    """Nothing is wrong; everything else is for a judge."""
    return Grade(score=None, parsed=response.strip()) if response.strip() else WRONG


def _ask() -> dict[Style, Asker]:
    """No instruct style: it would forbid the steps."""
    thinking = tagged(
        vcrbench.question,
        vcrbench.form,
        "Think step by step inside <think> </think> tags: say what can be seen and at what time, then what follows from"
        " it. Then write only {form}, inside <answer> </answer> tags, and nothing after it.",
    )
    return {"official": vcrbench.ASK["official"], "thinking": thinking}


register(
    replace(
        vcrbench.VCR_BENCH,
        name="vcrbench_cot",
        title="VCR-Bench, steps of reasoning",
        read=read,
        ask=_ask(),
        official=grade,
        aggregate=figures,
        breakdowns=("duration",),
        judge_case=None,
        judging=judge,
        folder="vcrbench",
    )
)
