# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One question for each task: its right answer as a person writes it, and answers that are wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from verl.rewards.contract import RewardItem
from verl.rewards.router import Router
from verl.types import Record, Score

OPTIONS = ("A. a dog", "B. a red car", "C. a blue bus", "D. nothing")
BOX = [100, 100, 200, 200]
TUBE = {str(second): [100 + 10 * second, 100, 200 + 10 * second, 200] for second in range(8, 13)}
PROMPT = {
    "boxes": BOX,
    "positive_points": [[150, 150], [160, 150], [150, 160]],
    "negative_points": [[300, 300], [320, 300], [300, 320]],
}
BESIDE = {**PROMPT, "negative_points": [[80, 80], [220, 80], [80, 220]]}
SQUARE = {
    "size": [400, 500],
    "counts": [40_100, *([100, 300] * 99), 100, 400 * 500 - 40_100 - 99 * 400 - 100],
}  # on BOX
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100"><rect width="100" height="100" fill="white"/>'
    '<circle cx="50" cy="50" r="30" fill="blue"/></svg>'
)
HTML = '<html><body><h1 class="t">Welcome</h1><p>Buy <b>apples</b></p><ul><li>Red</li><li>Green</li></ul></body></html>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A ground truth, a response that deserves 1.0, and some that deserve less."""

    truth: Any
    right: str
    wrong: tuple[str, ...]
    data_type: str = "video"
    options: tuple[str, ...] = ()


QUESTIONS = {
    "multi-answer": Question(truth="A,C", right="A, C", wrong=("A", "B", "A, B, C", "A, B, C, D"), options=OPTIONS),
    "spatial grounding": Question(
        truth=json.dumps({"boxes": BOX}),
        right=json.dumps({"boxes": BOX}),
        wrong=('{"boxes": [0, 0, 50, 50]}', '{"boxes": [150, 100, 250, 200]}'),
    ),
    "spatial-temporal grounding": Question(
        truth={"time": [8, 12], "boxes": TUBE},
        right=json.dumps({"time": [8, 12], "boxes": TUBE}),
        wrong=('{"time": [0, 5], "boxes": {}}', '{"time": [8, 12], "boxes": {"8": [180, 100, 280, 200]}}'),
    ),
    "tracking": Question(
        truth={"boxes": TUBE},
        right=json.dumps({"boxes": TUBE}),
        wrong=('{"boxes": {}}', '{"boxes": {"8": [180, 100, 280, 200]}}'),
    ),
    "segmentation": Question(
        truth=PROMPT,
        right=json.dumps(PROMPT),
        wrong=(json.dumps({**PROMPT, "boxes": [0, 0, 9, 9]}), json.dumps({**PROMPT, "positive_points": [[1, 1]] * 3})),
        data_type="image",
    ),
    "segmentation image": Question(
        truth={"mask": SQUARE},
        right=json.dumps(BESIDE),
        wrong=(
            json.dumps({**BESIDE, "boxes": [100, 100, 200, 190]}),
            json.dumps({**BESIDE, "positive_points": BESIDE["negative_points"]}),
            json.dumps({**BESIDE, "negative_points": PROMPT["negative_points"]}),
        ),
        data_type="image",
    ),
    "open-ended": Question(
        truth="A man in a blue jacket walks his dog.",
        right="A man in a blue jacket walks his dog.",
        wrong=("Nothing.", "A man walks.", "his man jacket dog walks blue"),
    ),
    "ocr": Question(truth="NO PARKING HERE", right="No parking here", wrong=("NO", "PARKING", "EXIT ONLY NOW")),
    "math": Question(truth="\\frac{1}{2}", right="0.5", wrong=("1", "x", "\\frac{1}{3}")),
    "svg-code": Question(truth=SVG, right=SVG, wrong=(SVG.replace("blue", "white"), SVG.replace('r="30"', 'r="20"'))),
    "html-code": Question(truth=HTML, right=HTML, wrong=("<p>Buy</p>", HTML.replace("Welcome", "Goodbye"))),
    "code": Question(
        truth={"tests": ["assert top([3, 1]) == 3", "assert top([1, 2]) == 2"]},
        right="def top(xs):\n    return max(xs)",
        wrong=("def top(xs):\n    return 3", "def top(xs): pass", "import os"),
    ),
    "preference": Question(truth="Response 2", right="Response 2", wrong=("Response 1", "Tie")),
}
INLINE = sorted(set(QUESTIONS) - {"math", "code", "svg-code", "html-code"})  # scored without another process


def record(problem_type: str, truth: Any = None, **fields: Any) -> Record:
    """The row of a question, or the same question with another truth."""
    question = QUESTIONS[problem_type]
    return Record(
        id="r1",
        where="train.jsonl:1",
        problem="What?",
        answer=question.truth if truth is None else truth,
        problem_type=problem_type,
        data_type=question.data_type,
        options=question.options,
        fields=fields,
    )


ROUTER = Router()


def score(response: str, row: Record, router: Router = ROUTER) -> Score:
    """The score of a response that can be scored."""
    [verdict] = router.score([RewardItem(response=response, response_length=5, record=row)])
    assert isinstance(verdict, Score), verdict
    return verdict


def accuracy(answer: str, row: Record, router: Router = ROUTER) -> float:
    """The accuracy of an answer in its tag."""
    return score(f"<answer>{answer}</answer>", row, router).parts["accuracy"]
