# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from verl.scoring.booleans import read_boolean


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("Yes", True),
        ("yes.", True),
        ("**No**", False),
        ("\\boxed{True}", True),
        ("y", True),
        ("0", False),
        ("\u662f", True),
        ("\u4e0d\u662f", False),
        ("The answer is no.", False),
        ("Yes, because he runs", True),
        ("No, that is false.", False),
        ("Yes\nHe picks it up", True),
        (True, True),
        ("The answer is: Yes", True),
        ("**Yes**, he does.", True),
        ("Yes because he runs", True),
        ("\u662f\u7684\u3002", True),
        ("\u4e0d\u5bf9", False),
        ("\u7b54\u6848\uff1a\u662f", True),
        ("S\u00ed", True),
        ("\u041d\u0435\u0442.", False),
        (0, False),
    ],
)
def test_one_side_is_read(said: object, value: bool) -> None:
    assert read_boolean(said) is value


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Yes and no",
        "Yes/No",
        "yes no yes",
        "Yes, no",
        "It is not true",
        "not yes",
        "No idea",
        "No-one left",
        "I know",
        "maybe",
        "yes, " + "x" * 3000,
        "\u662f\u4e0d\u662f",
        "Yes because no",
        2,
        0.5,
        None,
    ],
)
def test_both_sides_or_none_are_not_read(said: object) -> None:
    assert read_boolean(said) is None
