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
