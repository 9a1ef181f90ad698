# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What is to be seen in a scene, in a code of its own: no answer to any question is written this way."""

from __future__ import annotations

from examples.quickstart.questions import COLOURS, FORMS, GLYPHS, Scene, Shape

QUESTION = "<video>Say what you see."
ALWAYS = (0.0, 4.0)  # seconds

_LETTERS = dict(zip(COLOURS.values(), "abcd", strict=True))  # e is white
_FORMS = (*FORMS, *GLYPHS)


def caption(scene: Scene) -> str:
    """For each shape, from left to right: letter of its colour, then digits of form, place, width and time."""
    shapes = sorted(scene.shapes, key=lambda shape: (shape.start, shape.size))
    return " ".join(_said(shape) for shape in shapes)


def _said(shape: Shape) -> str:
    column, row = (min(2, int(part * 3)) for part in shape.start)
    first, last = shape.visible or ALWAYS
    digits = (_FORMS.index(shape.form), column, row, round(shape.size * 10), round(first), round(last))
    return _LETTERS.get(shape.colour, "e") + "".join(map(str, digits))
