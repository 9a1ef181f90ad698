# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What is to be seen in a scene, in a code of its own: no answer to any question is written this way."""

from __future__ import annotations

from examples.quickstart.questions import COLOURS, GLYPHS, Scene, Shape

QUESTION = "<video>Say what you see."
ALWAYS = (0.0, 4.0)  # seconds

_LETTERS = dict(zip(COLOURS.values(), "abcd", strict=True))  # e is white


def caption(scene: Scene) -> str:
    """For each shape, from left to right: letter of its colour, digits of place, time, width and what is written."""
    shapes = sorted(scene.shapes, key=lambda shape: (shape.start, shape.size))
    return " ".join(_said(shape) for shape in shapes)


def _said(shape: Shape) -> str:
    column, row = (min(2, int(part * 3)) for part in shape.start)
    first, last = shape.visible or ALWAYS
    written = 1 + tuple(GLYPHS).index(shape.form) if shape.form in GLYPHS else 0
    digits = (column, row, round(first), round(last), round(shape.size * 10), written)
    return _LETTERS.get(shape.colour, "e") + "".join(map(str, digits))
