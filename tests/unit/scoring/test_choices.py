# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from verl.scoring.choices import Options

FOUR = ("A. a dog", "B. a red car", "C. a blue bus", "D. nothing")


@pytest.mark.parametrize(
    "answer",
    [
        "B",
        "b",
        "(B)",
        "B)",
        "[B]",
        "B.",
        "<B>",
        "\uff22",
        "B\u200b",
        "**B**",
        "** B",
        "$\\text{B}$",
        '"B"',
        "Option B",
        "the best answer is: (B).",
        "I would choose option B.",
        "Final answer - B",
        "\u7b54\u6848\u662fB",
        "\u9009B",
        "B. a red car",
        "B: whatever I saw",
        "(B) the car",
        "B - the car",
        "B (the car)",
        "B is correct",
        "B is the right answer.",
        "B, because A is too small",
        "B red car",
        "B\na red car",
        "red car (option B)",
        "a red car",
        "Red car.",
        "the answer is a red car",
        "**B.** a red car",
        "**B**: a red car",
        "B is the answer.",
        "It is B",
        "I think the answer is B",
        "Ans: B",
        "B\n\nThe car is red.",
        "\u300cB\u300d",
        "\u6545\u9009\uff1aB",
        "\u5e94\u8be5\u9009B",
    ],
)
def test_one_pick_is_understood(answer: str) -> None:
    assert Options.of(FOUR).pick(answer) == "B"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "E",
        "A or B",
        "A and B",
        "A, B",
        "A/B",
        "A B",
        "AB",
        "A\nB",
        "A\n\nActually B",
        "A\nThe car (B) is there too",
        "**A** or **B**",
        "A. B. C. D.",
        "A. or B",
        "A (or B)",
        "A. a dog B. a red car",
        "not A",
        "A. is wrong",
        "A is not correct",
        "Definitely not option A",
        "a red cars",
        "a cat and a red car",
        "A hidden thing",
        "Because the man is tall",
        '{"answer": "B"}',
        "x" * 3000,
        "\ufdfa" * 2000,
    ],
)
def test_hedges_negations_and_prose_pick_nothing(answer: str) -> None:
    assert Options.of(FOUR).pick(answer) is None


def test_articles_and_pronouns_are_no_letters() -> None:
    many = Options.of([str(n) for n in range(12)])
    assert many.pick("I see nothing") is None
    assert many.pick("a house") is None
    assert many.pick("I") == "I"


def test_text_of_two_options_picks_neither() -> None:
    assert Options.of(["A. dog", "B. dog", "C. cat"]).pick("dog") is None
    assert Options.of(["A. dog", "B. dog", "C. cat"]).pick("B. dog") == "B"


def test_option_text_keeps_signs_and_letters_of_other_options() -> None:
    assert Options.of(["-5", "7"]).pick("5") is None
    assert Options.of(["-5", "5"]).pick("-5") == "A"
    assert Options.of(["3.5", "35"]).pick("35.") == "B"
    assert Options.of(["A. D", "B. C", "C. A", "D. B"]).pick("C. A") == "C"
    assert Options.of(["A. DFS", "B. BFS", "C. A*"]).pick("C. A*") == "C"
    assert Options.of(["A man", "A dog", "Both A and B."]).pick("Both A and B") == "C"
    assert Options.of(["New York", "Ohio", "Iowa", "D.C."]).pick("D.C.") == "D"
    assert Options.of(["New York", "D.C. area", "Iowa", "Ohio"]).pick("D.C. area") == "B"


@pytest.mark.parametrize("style", ["{}. {}", "{}: {}", "({}) {}", "{}) {}", "{}.{}"])
def test_labels_are_taken_off_and_followed(style: str) -> None:
    shuffled = Options.of([style.format(letter, text) for letter, text in (("B", "cat"), ("A", "dog"), ("C", "cow"))])
    assert shuffled.texts == {"B": "cat", "A": "dog", "C": "cow"}
    assert shuffled.pick("dog") == "A"


def test_initials_are_no_labels() -> None:
    assert Options.of(["J. Smith", "A. Jones"]).pick("J. Smith") == "A"


def test_letters_reach_as_far_as_the_options() -> None:
    assert Options.of([f"thing {n}" for n in range(14)]).pick("N") == "N"
    assert Options.of(["one", "two"]).pick("C") is None
    assert Options.of([]).pick("N") == "N"
    assert Options.of([]).pick("O") is None


@pytest.mark.parametrize(
    "answer",
    ["- A\n- C", "* A. a dog\n* C. a blue bus", "Both A and C", "Both A and C are correct.", "AC\u3002", "\u9009AC"],
)
def test_several_picks_are_understood(answer: str) -> None:
    assert Options.of(FOUR).pick_all(answer) == {"A", "C"}
