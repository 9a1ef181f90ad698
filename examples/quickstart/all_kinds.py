# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One question for every task of the built-in reward, about the same world of coloured shapes.

A picture is six units wide and high, so that a corner, and every other place asked for, has one digit per number.
"""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

from examples.quickstart.questions import COLOURS, FORMS, GLYPHS, KINDS, Draw, Kind, Scene, Shape

LETTERED = tuple(zip("ABCD", COLOURS, strict=True))
PAIRS = tuple(itertools.combinations(LETTERED, 2))
WHITE = (240, 240, 240)
SIDES = {"left": 0, "right": 3}  # left border of a corner, in units
ROWS = {"above": 0, "below": 3}  # its upper border
SPANS = ((0, 1), (2, 3))  # seconds
TENTHS = (2, 4, 6, 8)
CORNER = 3  # units: width and height
RESPONSES = {"Response 1": "red", "Response 2": "blue"}  # what a preference is asked about


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _box(left: int, top: int) -> list[int]:
    return [left, top, left + CORNER, top + CORNER]


def _in_corner(rng: random.Random, left: int, top: int, **changes: Any) -> Shape:
    centre = ((left + CORNER / 2) / 6, (top + CORNER / 2) / 6)
    traits = {"form": "square", "colour": _any_colour(rng), "size": 0.5, "start": centre, "velocity": (0.0, 0.0)}
    return Shape(**{**traits, **changes})


def _any_colour(rng: random.Random) -> tuple[int, int, int]:
    return rng.choice(tuple(COLOURS.values()))


def _scene(rng: random.Random, *shapes: Shape) -> Scene:
    return Scene(shapes=shapes, ground=rng.randint(25, 45))


def _coloured(rng: random.Random, name: str) -> Scene:
    shape = _in_corner(rng, rng.randint(0, 3), rng.randint(0, 3), colour=COLOURS[name], form=rng.choice(FORMS))
    return _scene(rng, shape)


def _by_colour(word: str) -> Draw:
    """Draws a shape of each colour in turn; the answer is `word` with its name in the place of {}."""

    def draw(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
        name = tuple(COLOURS)[turn % 4]
        return _coloured(rng, name), word.replace("{}", name)

    return draw


def _by_count(word: str) -> Draw:
    """Draws one to four white shapes in corners; the answer is `word` with their number in the place of {}."""

    def draw(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
        scene, count = KINDS["counting"].draw(rng, turn, seconds)
        return scene, word.replace("{}", count)

    return draw


def _two_colours(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
    pair = PAIRS[turn % len(PAIRS)]
    (_, left), (_, right) = rng.sample(pair, 2)
    shapes = [
        _in_corner(rng, side, rng.randint(0, 3), colour=COLOURS[name], form=rng.choice(FORMS))
        for side, name in ((0, left), (3, right))
    ]
    return _scene(rng, *shapes), ",".join(letter for letter, _ in pair)


def _width(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
    tenths = TENTHS[turn % len(TENTHS)]
    margin = tenths / 20
    start = (rng.uniform(margin, 1 - margin), rng.uniform(margin, 1 - margin))
    shape = _in_corner(rng, 0, 0, form=rng.choice(FORMS), size=tenths / 10, start=start)
    return _scene(rng, shape), str(tenths)


def _letter(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
    letter = tuple(GLYPHS)[turn % len(GLYPHS)]
    start = (rng.uniform(0.45, 0.55), rng.uniform(0.45, 0.55))
    return _scene(rng, _in_corner(rng, 0, 0, form=letter, colour=WHITE, size=0.85, start=start)), letter


def _colour_and_row(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
    row, name = list(itertools.product(ROWS, COLOURS))[turn % 8]
    shape = _in_corner(rng, rng.randint(0, 3), ROWS[row], colour=COLOURS[name], form=rng.choice(FORMS))
    return _scene(rng, shape), f"{name} {row}"


def _span(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
    span = SPANS[turn % 2]
    shape = _in_corner(rng, rng.randint(0, 3), rng.randint(0, 3), visible=span, form=rng.choice(FORMS))
    return _scene(rng, shape), _compact({"time": span})


def _corner(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
    left, top = list(itertools.product(SIDES.values(), ROWS.values()))[turn % 4]
    return _scene(rng, _in_corner(rng, left, top, form=rng.choice(FORMS))), _compact({"boxes": _box(left, top)})


def _span_and_side(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
    span, left = list(itertools.product(SPANS, SIDES.values()))[turn % 4]
    boxes = {str(second): _box(left, 0) for second in span}
    shape = _in_corner(rng, left, 0, visible=span, form=rng.choice(FORMS))
    return _scene(rng, shape), _compact({"time": span, "boxes": boxes})


def _track(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
    left, top = list(itertools.product(SIDES.values(), ROWS.values()))[turn % 4]
    step = 1 if left == 0 else -1  # units per second
    shape = _in_corner(rng, left, top, velocity=(step / 6, 0.0), form=rng.choice(FORMS))
    boxes = {str(second): _box(left + step * second, top) for second in range(4)}
    return _scene(rng, shape), _compact({"boxes": boxes})


def _points(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
    span, left = list(itertools.product(SPANS, SIDES.values()))[turn % 4]
    answer = {
        "boxes": _box(left, 0),
        "positive_points": [[left + 1, 1], [left + 2, 1], [left + 1, 2]],
        "negative_points": [[left, 3], [left + 1, 3], [left + 2, 3]],
        "time": span[1],
    }
    return _scene(rng, _in_corner(rng, left, 0, visible=span)), _compact(answer)


def _better(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
    answer = (*RESPONSES, "Tie")[turn % 3]
    return _coloured(rng, RESPONSES.get(answer) or rng.choice(["green", "yellow"])), answer


def mask_of(answer: str) -> dict[str, Any]:
    """The row's answer to a segmentation question: a polygon around the box of the prompt, and its moment."""
    prompt = json.loads(answer)
    x1, y1, x2, y2 = prompt["boxes"]
    return {"mask": [[x1, y1, x2, y1, x2, y2, x1, y2]], "time": prompt["time"]}


def checks_of(program: str) -> list[dict[str, Any]]:
    """The hidden test of a program that returns the number it ends with."""
    return [{"call": "f()", "returns": int(program[-1])}]


MORE_KINDS = {
    "pair": Kind(
        problem_type="multi-answer",
        problem="<video>Which colours are there?",
        options=KINDS["colour"].options,
        draw=_two_colours,
    ),
    "width": Kind(problem_type="regression", problem="<video>How wide is the shape?", draw=_width),
    "letter": Kind(problem_type="ocr", problem="<video>What is written?", draw=_letter),
    "words": Kind(problem_type="open-ended", problem="<video>What is where?", draw=_colour_and_row),
    "share": Kind(
        problem_type="math", problem="<video>What share of the corners has a shape?", draw=_by_count("\\frac{{}}{4}")
    ),
    "span": Kind(problem_type="temporal grounding", problem="<video>When is the shape visible?", draw=_span),
    "corner": Kind(problem_type="spatial grounding", problem="<video>Where is the shape?", draw=_corner),
    "event": Kind(
        problem_type="spatial-temporal grounding",
        problem="<video>When and where is the shape visible?",
        draw=_span_and_side,
    ),
    "track": Kind(problem_type="tracking", problem="<video>Track the shape.", draw=_track),
    "points": Kind(problem_type="segmentation", problem="<video>Segment the shape.", draw=_points, truth=mask_of),
    "program": Kind(
        problem_type="code",
        problem="<video>Write f, the number of shapes.",
        draw=_by_count("f=lambda:{}"),
        truth=checks_of,
    ),
    "svg": Kind(
        problem_type="svg-code",
        problem="<video>Write the colour in SVG.",
        draw=_by_colour('<svg viewBox="0 0 2 2"><rect width="1" height="2" fill="{}"/></svg>'),
    ),
    "html": Kind(problem_type="html-code", problem="<video>Write the colour in HTML.", draw=_by_colour("<p>{}</p>")),
    "better": Kind(
        problem_type="preference",
        problem="<video>What colour? Which is better?\n" + "\n".join(map(": ".join, RESPONSES.items())),
        draw=_better,
    ),
}
ALL_KINDS = {name: KINDS[name] for name in ("colour", "boolean", "counting")} | MORE_KINDS
