# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl.scoring.numbers import is_equal, mean_relative_accuracy, read_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-5", -5),
        ("\u22125", -5),
        ("minus 5", -5),
        ("+3", 3),
        ("$1,234.50", Fraction("1234.5")),
        ("1{,}000", 1000),
        (".5", Fraction(1, 2)),
        ("4.", 4),
        ("1e6", 10**6),
        ("1.2e-3", Fraction("0.0012")),
        ("1.2\u00d710^5", 120_000),
        ("$1.2\\times 10^{5}$", 120_000),
        ("10\u2075", 10**5),
        ("3/4", Fraction(3, 4)),
        ("-\\frac{1}{2}", Fraction(-1, 2)),
        ("\u00bd", Fraction(1, 2)),
        ("50\\%", 50),
        ("12 cm^2", 12),
        ("12 cm\u00b2", 12),
        ("9.8 m/s2", Fraction("9.8")),
        ("5 million", 5 * 10**6),
        ("\\boxed{12}", 12),
        ("There are 4 tables.", 4),
        ("4 (four)", 4),
        ("\uff11\uff12", 12),
        ("\u517112\u4e2a", 12),
        ("zero", 0),
        ("twenty-one", 21),
        ("two hundred and five", 205),
        ("one million two hundred thousand", 1_200_000),
        ("a hundred", 100),
        ("minus seven degrees", -7),
        ("five (5)", 5),
        ("4, one of them red", 4),
        ("4 goals in the second half", 4),
        ("4 months", 4),
        ("4 quarters", 4),
        ("\\frac13", Fraction(1, 3)),
        ("\u4e94", 5),
        ("\u4e00\u5171\u4e24\u4e2a", 2),
        ("\u4e8c\u5341\u4e00", 21),
        ("\u5341\u4e8c\u53ea", 12),
        ("\u4e00\u767e\u96f6\u4e94", 105),
        ("\u4e09\u4e07\u4e94\u5343", 35_000),
        ("\u8d1f\u4e09\u5ea6", -3),
        ("\u6709\u4e00\u4e2a", 1),
        ("\u4e00\u51715\u4e2a", 5),
        ("two halves", 2),
        ("three quarters", Fraction(3, 4)),
        ("<4>", 4),
        ("5k", 5000),
        ("1.2M views", 1_200_000),
        ("3\u4e07", 30_000),
        ("1\\,234", 1234),
        ("two thirds", Fraction(2, 3)),
        ("one and a half hours", Fraction(3, 2)),
        ("-four", -4),
    ],
)
def test_one_number_is_read_exactly(text: str, value: Fraction | int) -> None:
    number = read_number(text)
    assert number is not None and number.value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "many",
        "nan",
        "inf",
        "12 or 13",
        "10-12",
        "10 - 12",
        "between 12 and 14",
        "1, 2, 3",
        "0,5",
        "10:30",
        "1.2.3",
        "1/2/3",
        "1/0",
        "1 1/2",
        "1\u00bd",
        "1_000",
        "2^10",
        "5\u00b2",
        "0x10",
        "2x3",
        "COVID-19",
        "- 5",
        "\u00b15",
        "not 12",
        "two or three",
        "4 or five",
        "five or 4",
        "4 to ten",
        "4, maybe five",
        "one or 4",
        "more than 4",
        "< 4",
        "half of 4",
        "4 and a half",
        "4 dozen",
        "\u4e09\u6216\u56db",
        "5\u6216\u516d",
        "\u4e00\u767e\u4e94",
        "\u4e09\u56db",
        "\u4e00\u534a",
        "\u5341\u51e0\u4e2a",
        "4 thousandths",
        "\u221a4",
        "\\sqrt{4}",
        "4\u03c0",
        "-(4)",
        "5 hundred thousand",
        "two three",
        "five zero",
        "twenty eleven hundred",
        "1" * 41,
        "1e99999",
        "1" + " " * 128 + "2",
    ],
)
def test_anything_but_one_number_is_no_number(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.parametrize("value", [True, False, None, [1], {"a": 1}, float("nan"), float("inf"), 10**50])
def test_json_that_is_no_number_is_refused(value: object) -> None:
    assert read_number(value) is None


@pytest.mark.parametrize(
    ("prediction", "truth", "equal"),
    [
        ("3.0", 3, True),
        ("3.001", 3, False),
        ("3", 3.0, True),
        ("12345678901234568", "12345678901234567", False),
        ("3.14", "3.14159", True),
        ("3.1", "3.14159", False),
        ("3.15", "3.14", False),
        ("0.0012", "0.00123", True),
        ("0.001", "0.00123", False),
        ("0.33", "1/3", True),
        ("0.3", "1/3", False),
        ("50%", "50", True),
        ("50%", "0.5", True),
        ("0.5", "50%", True),
        ("51%", "50%", False),
        ("five", 5, True),
    ],
)
def test_equality_is_of_values_to_the_digits_that_matter(prediction: str, truth: object, equal: bool) -> None:
    ours, theirs = read_number(prediction), read_number(truth)
    assert ours and theirs
    assert is_equal(ours, theirs) is equal


@given(st.integers(-1000, 1000), st.integers(-1000, 1000).filter(bool))
def test_mean_relative_accuracy_counts_thresholds(prediction: int, truth: int) -> None:
    ours, theirs = read_number(prediction), read_number(truth)
    assert ours and theirs
    error = Fraction(abs(prediction - truth), abs(truth))
    passed = [theta for theta in range(50, 100, 5) if error <= 1 - Fraction(theta, 100)]
    assert mean_relative_accuracy(ours, theirs) == len(passed) / 10


@given(st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_json_number_equals_itself(value: float) -> None:
    number = read_number(value)
    if number is not None:
        assert is_equal(number, number) and mean_relative_accuracy(number, number) == 1.0
    else:
        assert abs(value) > 1e30 or 0 < abs(value) < 1e-30
