# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The judge of the reward library, for answers that no rule can grade."""

from __future__ import annotations

from eval.benchmark import Benchmark
from eval.grading import after_thinking
from eval.item import EvalItem, Grade
from verl.rewards.judge import Judge
from verl.rewards.judge_prompt import JudgeCase
from verl.scoring.answers import Carrier, read_answer
from verl.types import NotScorable

MAX_CHARS = 24_000
MARKED = (Carrier.TAG, Carrier.OPEN_TAG, Carrier.BOXED)


class ItemJudge:
    """Asks about one item at a time; the judge bounds and caches its requests."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    @property
    def name(self) -> str:
        """The model that judges."""
        return str(self._judge.config.model)

    def judge(self, benchmark: Benchmark, item: EvalItem, response: str) -> Grade | str:
        """A grade, or why there is none."""
        if benchmark.judging is not None:
            return benchmark.judging(self._judge, item, response)
        text = final_answer(response)
        if not text:
            return Grade(score=0.0, parsed=None)
        make = benchmark.judge_case or judge_case
        (verdict,) = self._judge.judge([make(item, text)])
        if isinstance(verdict, NotScorable):
            return verdict.reason
        return Grade(score=verdict.overall, parsed=text)


def final_answer(response: str) -> str:
    """What a judge reads: the marked answer, or all that comes after the reasoning."""
    answer = read_answer(response)
    return answer.text if answer.carrier in MARKED else after_thinking(response).strip()


def told_response(text: str) -> dict[str, object]:
    """A response as a judge is told it: up to 24,000 characters, and how many more there are."""
    cut = max(len(text) - MAX_CHARS, 0)
    return {"response": text[:MAX_CHARS], **({"response_chars_cut": cut} if cut else {})}


def judge_case(item: EvalItem, text: str) -> JudgeCase:
    """The question, its options, the true answer and the response."""
    references = item.answer if isinstance(item.answer, (list, tuple)) else [item.answer]
    return JudgeCase(
        question=item.question, references=tuple(map(str, references)), response=text, options=item.options
    )
