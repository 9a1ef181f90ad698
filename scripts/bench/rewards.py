# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How many responses a core scores in a second, by task, and against the straightforward use of the same libraries.

    python -m scripts.bench.rewards [--seconds 0.5]

Responses have 300 words of reasoning and an answer; every other answer is wrong. The straightforward way finds the
answer with one regular expression and trusts it: no grammar, no limits, no process of its own (but one per program).
Both sides see the same responses in turns, by wall clock; the best of three turns counts.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import html5lib
import numpy as np
import resvg_py
from math_verify import parse, verify
from PIL import Image
from rapidfuzz.distance import Levenshtein
from rouge_score.rouge_scorer import RougeScorer

from verl.rewards.contract import RewardItem
from verl.rewards.router import Router
from verl.types import Record

TURNS = 3
REASONING = "<think>" + "I looked at every frame and saw what there was to see. " * 25 + "</think>\n"
TUBE = {str(second): [100 + second, 100, 200 + second, 200] for second in range(32)}
PROMPT = {
    "boxes": [1, 1, 9, 9],
    "positive_points": [[2, 2], [3, 3], [4, 5]],
    "negative_points": [[0, 9], [9, 0], [0, 0]],
}
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100"><rect width="100" height="100" fill="white"/>'
    '<circle cx="50" cy="50" r="30" fill="blue"/><rect x="10" y="70" width="20" height="20" fill="red"/></svg>'
)
HTML = "<html><body><h1>Shop</h1>" + "<p>Buy <b>fresh</b> apples</p><ul><li>Red<li>Green</ul>" * 5 + "</body></html>"
TEXT = "A man in a blue jacket walks his dog across the street and then sits down on a bench."
ROUGE = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)

Grader = Callable[[str, Any], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A task: its truth, a right and a wrong answer, and the straightforward scorer."""

    name: str
    truth: Any
    answers: tuple[str, str]
    plain: Grader
    options: tuple[str, ...] = ()


def same(answer: str, truth: Any) -> float:
    """String equality."""
    return float(answer.strip() == str(truth))


def near(answer: str, truth: Any) -> float:
    """Numbers."""
    return float(abs(float(answer) - float(truth)) < 1e-2)


def overlap(ours: list[float], theirs: list[float]) -> float:
    """IoU of boxes."""
    width = max(0, min(ours[2], theirs[2]) - max(ours[0], theirs[0]))
    height = max(0, min(ours[3], theirs[3]) - max(ours[1], theirs[1]))
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (ours, theirs))
    return width * height / (area - width * height)


def spans(answer: str, truth: Any) -> float:
    """IoU of times."""
    (start, end), (first, last) = json.loads(answer)["time"], json.loads(truth)["time"]
    return max(0, min(end, last) - max(start, first)) / (max(end, last) - min(start, first))


def box(answer: str, truth: Any) -> float:
    """IoU of the one box."""
    return overlap(json.loads(answer)["boxes"], json.loads(truth)["boxes"])


def tube(answer: str, truth: Any) -> float:
    """Mean IoU of boxes."""
    ours, theirs = json.loads(answer)["boxes"], json.loads(truth)["boxes"]
    return sum(overlap(ours[key], theirs[key]) for key in theirs if key in ours) / len(theirs)


def event(answer: str, truth: Any) -> float:
    """Both."""
    return (spans(answer, truth) + tube(answer, truth)) / 2


def rouge(answer: str, truth: Any) -> float:
    """ROUGE by the package."""
    return sum(score.fmeasure for score in ROUGE.score(truth, answer).values()) / 3


def errors(answer: str, truth: Any) -> float:
    """Word errors."""
    return 1 - Levenshtein.distance(answer.lower().split(), truth.lower().split()) / len(truth.split())


def algebra(answer: str, truth: Any) -> float:
    """math-verify in this process."""
    return float(
        verify(
            parse(f"${truth}$", parsing_timeout=None), parse(f"${answer}$", parsing_timeout=None), timeout_seconds=None
        )
    )


def pictures(answer: str, truth: Any) -> float:
    """resvg in this process."""
    ours, theirs = (
        np.asarray(Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=text, width=128, height=128)))), float)
        for text in (answer, truth)
    )
    return float(1 - ((ours - theirs) ** 2).mean() / theirs.var())


def pages(answer: str, truth: Any) -> float:
    """html5lib in this process."""
    ours, theirs = (Counter(str(node.tag) for node in html5lib.parse(text).iter()) for text in (answer, truth))
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def program(answer: str, truth: Any) -> float:
    """A Python process for each program."""
    done = subprocess.run([sys.executable, "-I", "-c", "\n".join([answer, *truth])], capture_output=True, check=False)
    return float(done.returncode == 0)


OPTIONS = ("A. a dog", "B. a red car", "C. a blue bus", "D. nothing")
EVENT = json.dumps({"time": [0, 31], "boxes": TUBE})
CASES = (
    Case(name="multiple choice", truth="B", answers=("B", "C"), plain=same, options=OPTIONS),
    Case(name="multi-answer", truth="A, C", answers=("A, C", "B, C"), plain=same, options=OPTIONS),
    Case(name="numerical", truth="12.5", answers=("12.5", "13"), plain=near),
    Case(name="regression", truth="12.5", answers=("12.5", "13"), plain=near),
    Case(name="boolean", truth="Yes", answers=("Yes", "No"), plain=same),
    Case(name="preference", truth="Tie", answers=("Tie", "Response 1"), plain=same),
    Case(
        name="temporal grounding",
        truth='{"time": [3, 9]}',
        answers=('{"time": [3, 9]}', '{"time": [1, 5]}'),
        plain=spans,
    ),
    Case(
        name="spatial grounding",
        truth='{"boxes": [1, 2, 9, 9]}',
        answers=('{"boxes": [1, 2, 9, 9]}', '{"boxes": [1, 2, 5, 5]}'),
        plain=box,
    ),
    Case(name="spatial-temporal grounding", truth=EVENT, answers=(EVENT, EVENT.replace("1", "2")), plain=event),
    Case(name="tracking", truth=EVENT, answers=(EVENT, EVENT.replace("[10", "[11")), plain=tube),
    Case(
        name="segmentation",
        truth=json.dumps({**PROMPT, "time": 3}),
        answers=(json.dumps({**PROMPT, "time": 3}), json.dumps({**PROMPT, "time": 5})),
        plain=box,
    ),
    Case(
        name="open-ended",
        truth=TEXT,
        answers=(TEXT, "A man wearing a jacket is walking a dog before he rests."),
        plain=rouge,
    ),
    Case(name="ocr", truth="NO PARKING HERE", answers=("No parking here", "NO PARKING ZONE"), plain=errors),
    Case(name="math", truth="\\frac{1}{2}", answers=("\\dfrac{2}{4}", "\\frac{1}{3}"), plain=algebra),
    Case(name="svg-code", truth=SVG, answers=(SVG, SVG.replace("blue", "green")), plain=pictures),
    Case(name="html-code", truth=HTML, answers=(HTML, HTML.replace("Red", "Blue")), plain=pages),
    Case(
        name="code",
        truth=["assert f([3, 1]) == 3"],
        answers=("def f(x): return max(x)", "def f(x): return 0"),
        plain=program,
    ),
)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a turn")
    seconds = parser.parse_args().seconds
    print(f"{'task':28} {'scores/s':>10} {'plain/s':>10} {'ratio':>8}")
    for case in CASES:
        ours, plain = rates(case, seconds)
        print(f"{case.name:28} {ours:10.0f} {plain:10.0f} {ours / plain:7.2f}x")
    return 0


def rates(case: Case, seconds: float) -> tuple[float, float]:
    """Scores per second by this library and by the straightforward way."""
    record = Record(
        id="0",
        where="bench",
        problem="What happens?",
        answer=case.truth,
        problem_type=case.name,
        data_type="video",
        options=case.options,
    )
    responses = [f"{REASONING}<answer>{answer}</answer>" for answer in case.answers]
    items = [RewardItem(response=response, response_length=300, record=record) for response in responses]
    router = Router()
    tag = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)

    def ours() -> None:
        router.score(items)

    def plain() -> None:
        for response in responses:
            found = tag.search(response)
            if found:
                case.plain(found[1], case.truth)

    ours()
    plain()
    turns = [(_rate(ours, seconds), _rate(plain, seconds)) for _ in range(TURNS)]
    return len(items) * max(turn[0] for turn in turns), len(items) * max(turn[1] for turn in turns)


def _rate(run: Callable[[], None], seconds: float) -> float:
    start, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        run()
        count += 1
    return count / passed


if __name__ == "__main__":
    sys.exit(main())
