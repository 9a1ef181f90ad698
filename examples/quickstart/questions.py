# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked about the quickstart's videos, and how a scene with a known answer is drawn by lot."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 80, 230), "yellow": (230, 220, 40)}
FORMS = ("square", "disc", "triangle")
GLYPHS = {  # letters as forms: rows of a grid, from the top
    "L": ("#....", "#....", "#....", "#....", "#####"),
    "T": ("#####", "..#..", "..#..", "..#..", "..#.."),
    "O": ("#####", "#...#", "#...#", "#...#", "#####"),
    "X": ("#...#", ".#.#.", "..#..", ".#.#.", "#...#"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A coloured shape on a straight path, bouncing off the borders; lengths are in frame sizes."""

    form: str
    colour: tuple[int, int, int]
    size: float
    start: tuple[float, float]  # x, y of the centre
    velocity: tuple[float, float]  # per second
    visible: tuple[float, float] | None = None  # first and last moment in seconds, None for always


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Shapes, painted in order on a dark grey ground."""

    shapes: tuple[Shape, ...]
    ground: int


Draw = Callable[[random.Random, int, float], tuple[Scene, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of question.

    `draw(rng, turn, seconds)` gives a scene of that length and its answer. Answers take turns, so that each is right
    equally often and a constant guess earns no more than chance. `truth` makes of an answer what the row holds, where
    that is something else: tests of a program, a mask.
    """

    problem_type: str
    problem: str
    draw: Draw
    options: tuple[str, ...] = ()
    truth: Callable[[str], Any] = str


def _shape(rng: random.Random, colour: tuple[int, int, int], size: float = 0.6) -> Shape:
    low, high = size / 2, 1 - size / 2
    return Shape(
        form=rng.choice(FORMS),
        colour=colour,
        size=size,
        start=(rng.uniform(low, high), rng.uniform(low, high)),
        velocity=(rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.3)),
    )


def _scene(rng: random.Random, *shapes: Shape) -> Scene:
    return Scene(shapes=shapes, ground=rng.randint(25, 45))


def _colour(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
    letter, colour = list(zip("ABCD", COLOURS.values(), strict=True))[turn % 4]
    return _scene(rng, _shape(rng, colour)), letter


def _counting(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
    count = turn % 4 + 1
    corners = rng.sample([(x, y) for x in (0.25, 0.75) for y in (0.25, 0.75)], count)
    shapes = [
        Shape(form=rng.choice(FORMS), colour=(230, 230, 230), size=0.35, start=corner, velocity=(0.0, 0.0))
        for corner in corners
    ]
    return _scene(rng, *shapes), str(count)


def _boolean(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
    shapes = [_shape(rng, rng.choice(tuple(COLOURS.values())))]
    has_white = turn % 2 == 0
    if has_white:
        shapes.append(_shape(rng, (240, 240, 240)))
    return _scene(rng, *shapes), "Yes" if has_white else "No"


def _grounding(rng: random.Random, turn: int, seconds: float) -> tuple[Scene, str]:
    spans = list(itertools.combinations(range(int(seconds * 2)), 2))
    first, last = spans[turn % len(spans)]
    span = (first / 2, last / 2)
    shape = replace(_shape(rng, rng.choice(tuple(COLOURS.values()))), visible=span)
    return _scene(rng, shape), json.dumps({"time": span})


KINDS = {
    "colour": Kind(
        problem_type="multiple choice",
        problem="<video>What colour is the moving shape?",
        options=tuple(f"{letter}. {name}" for letter, name in zip("ABCD", COLOURS, strict=True)),
        draw=_colour,
    ),
    "boolean": Kind(
        problem_type="boolean",
        problem="<video>Is there a white shape in the video?",
        draw=_boolean,
    ),
    "counting": Kind(
        problem_type="numerical",
        problem="<video>How many shapes are in the video?",
        draw=_counting,
    ),
    "grounding": Kind(
        problem_type="temporal grounding",
        problem="<video>From when to when is the shape visible?",
        draw=_grounding,
    ),
}
