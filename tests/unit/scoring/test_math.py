# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from verl.scoring.math import is_formula, is_same_formula


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("\\dfrac{1}{2}", "0.5"),
        ("x = 5", "5"),
        ("5", "x=5"),
        ("y=2x+1", "y=1+2x"),
        ("1e3", "1000"),
        ("\\text{Even}", "even"),
        ("$(x-1)(x+1)$", "x^2-1"),
        ("\\{2,1\\}", "\\{1,2\\}"),
        ("10\\%", "0.1"),
        ("\u00bd", "1/2"),
        ("3x/4", "\u00bex"),
        ("2\u00bd", "5/2"),
        ("2 or 3", "3 or 2"),
        ("12 \\text{ cm}", "12"),
        ("\\sum_{i=1}^n i", "\\sum_{i=1}^n i"),
        ("3/4.", "\\frac{3}{4}"),
        ("\\approx 0.75", "3/4"),
        ("5~\\text{cm}^2", "5"),
        ("1 and 2", "\\{1,2\\}"),
        ("x\u22601", "x \\neq 1"),
        ("x \\approx 0.75", "3/4"),
        ("x = \\frac{1}{3} \\approx 0.333", "1/3"),
        ("\\frac{\\sqrt{3}}{2} \u2248 0.866", "\\frac{\\sqrt{3}}{2}"),
        ("3 \u00b7 4", "12"),
        ("\\begin{pmatrix}1 & 2\\\\3 & 4\\end{pmatrix}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"),
        ("(-\\infty,1)\\cup(2,3)", "(-\\infty, 1) \\cup (2, 3)"),
        ("\\left(1, 2\\right]", "(1,2]"),
        ("(1, 2).", "(1,2)"),
        ("x > 2.", "x>2"),
        ("= 3/4", "3/4"),
        ("The answer is $\\frac{3}{4}$.", "3/4"),
        ("P(A) = 3/4", "3/4"),
        ("f(2) = 5", "5"),
        ("2\u221a3", "2\\sqrt{3}"),
        ("(-\u221e, 2]", "(-\\infty, 2]"),
        ("4*pi", "4\\pi"),
        ("1 1/2", "3/2"),
        ("7 people", "7"),
        ("3/4 cups", "\\frac{3}{4}"),
        ("\\$5", "5"),
        ("25 cm^2", "25"),
        ("5m/s", "5"),
    ],
)
def test_equal_values_are_equal(answer: str, truth: str) -> None:
    assert is_same_formula(answer, truth, 5.0) is True


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("0.333", "1/3"),
        ("3.14", "\\pi"),
        ("40 2", "42"),
        ("1=2", "2"),
        ("x=3=2", "2"),
        ("3 or 2", "2"),
        ("\\{1,2\\}", "2"),
        ("[1,2]", "(1,2)"),
        ("$41$ $42$", "42"),
        ("even", "odd"),
        ("2.0000001", "2"),
        ("The answer is not $2$.", "2"),
        ("6. 2", "2"),
        ("6 | 2", "2"),
        ("6 & 2", "2"),
        ("6 \u2192 2", "2"),
        ("6\\Rightarrow 2", "2"),
        ("6\\cup 2", "2"),
        ("2\u22486", "2"),
        ("2) (6", "2"),
        ("2\\text{, }6", "2"),
        ("2\\\\6", "2"),
        ("2 a 6", "2"),
        ("6 cm. 2 cm", "2"),
        ("\\frac{1}{2}\\text{maybe}\\frac{1}{3}", "\\frac{1}{2}"),
        ("2\u221a3", "6"),
        ("5x", "5"),
        ("5 over 2", "5"),
        ("$5", "\u20ac6"),
    ],
)
def test_other_values_and_hedges_are_not(answer: str, truth: str) -> None:
    assert is_same_formula(answer, truth, 5.0) is False


@pytest.mark.parametrize("text", ["x^2+y^2", "\\frac{a}{b}", "10!", "2^{100}", "\\sin x", "1" * 39])
def test_formulas_are_let_through(text: str) -> None:
    assert is_formula(text)


@pytest.mark.parametrize(
    "text", ["", "2**9", "2^{3^4}", "2^3^4", "2^{9999}", "100!", "5!!", "(3!)!", "\\int x", "1" * 40]
)
def test_what_algebra_takes_for_ever_is_refused(text: str) -> None:
    assert not is_formula(text)
