# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Our reading of a choice, against that of a careful person, on responses as they occur."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from eval.robust import pick_letter
from eval.tidying import last_word, tidied, undressed

VECTORS = Path(__file__).parents[2] / "vectors"
KNOWN = json.loads((VECTORS / "eval_choices.json").read_text())
MESSY = json.loads((VECTORS / "eval_messy.json").read_text())
BLIND = json.loads((VECTORS / "eval_blind.json").read_text())
MISSED = {
    "The third option",
    "Comparing A with B, neither fits. C does.",
    "24 + 4 = 28",
    "Not sure. C maybe.",
}  # no letter is read


def test_all_known_cases_are_read_as_they_are_meant():
    """112 of the 159 published cases; the other 47 are not known here."""
    options = {name: [text[3:] for text in texts] for name, texts in KNOWN["option_sets"].items()}
    read = {case["id"]: pick_letter(case["response"], options[case["set"]]) for case in KNOWN["cases"]}
    assert len(read) == 112
    assert {case["id"]: case["intended"] for case in KNOWN["cases"]} == read


def test_messy_responses_are_read_as_a_person_would():
    kinds: Counter[str] = Counter()
    missed, wrong = set(), []
    for name, cases in MESSY["cases"].items():
        for response, meant in cases:
            letter = pick_letter(response, MESSY["options"][name])
            kinds["right" if letter == meant else "missed" if letter is None else "wrong"] += 1
            missed |= {response} if letter is None and meant else set()
            wrong += [(response, meant, letter)] if letter not in (meant, None) else []
    assert not wrong and missed == MISSED
    assert kinds == {"right": sum(map(len, MESSY["cases"].values())) - len(MISSED), "missed": len(MISSED)}
    assert kinds["right"] >= 470


def test_cases_that_were_written_without_sight_of_the_parser():
    """118 of these 120 were right at first; then `<CONCLUSION>` was added."""
    options = BLIND["options"]
    wrong = [
        (response[-29:], meant, letter)
        for name, response, meant in BLIND["cases"]
        if (letter := pick_letter(response, options[name])) != meant
    ]
    assert len(BLIND["cases"]) == 120
    assert wrong == [("puts the pot on the stove and", None, "C")]


CAPTIONS = ("Caption A: The cat sleeps.", "Caption B: The cat eats.")
NUMBERED = ("Option 1: The cat sleeps.", "Option 2: The cat eats.")


@pytest.mark.parametrize(
    ("options", "response", "meant"),
    [
        (CAPTIONS, "Caption A", "A"),
        (CAPTIONS, "caption a.", "A"),
        (CAPTIONS, "Caption A fits the video better, for the cat lies still.", "A"),
        (CAPTIONS, "The caption that fits is:\n\nCaption B: The cat eats.\n\nA bowl stands before it.", "B"),
        (CAPTIONS, "Caption B: The cat eats.\n\nCaption A is wrong, as it does not sleep.", "B"),
        (CAPTIONS, "The best one is:\n\nCaption A: The cat sleeps.\n\nCaption B does not show what happens.", "A"),
        (CAPTIONS, "Neither Caption A nor Caption B.", None),
        (NUMBERED, "Option 2", "B"),
        (NUMBERED, "2.", "B"),
        (NUMBERED, "<answer>Option 1: The cat sleeps.</answer>", "A"),
        (NUMBERED, "Option B", "B"),
        (NUMBERED, "Option 3", None),
        (("Caption A: one", "Sentence B: two"), "Caption A", None),
    ],
)
def test_options_may_be_told_by_their_names(options, response, meant):
    assert pick_letter(response, options) == meant


@pytest.mark.parametrize(
    ("response", "meant"),
    [
        ("The cat is sleeping on a mat. This is evident from its closed eyes, and it never moves.", "A"),
        ("The cat is sleeping. This can be seen from start to end. " + "Its eyes are closed all the time. " * 30, "A"),
        ('The best word is "eating." This is due to the bowl, and the cat does not seem to be sleeping there.', "B"),
        ("The cat is not sleeping. This is evident from its open eyes.", None),
        ("The cat is sleeping or eating. This is evident from what it does.", None),
        ("The cat is sleeping. A dog comes in and looks around for some time.", None),
    ],
)
def test_a_claim_with_its_evidence_is_read(response, meant):
    assert pick_letter(response, ("sleeping", "eating", "running")) == meant


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<p>a<br/>b</p>", "\na\nb\n"),
        ("<answer>A</answer><b>x</b>", "<answer>A</answer>x"),
        ("\u25c1think\u25b7a\u25c1/think\u25b7", "<think>a</think>"),
        ("1 < 2 & 3 > 2", "1 < 2 & 3 > 2"),
        ("A &amp; B", "A & B"),
        ("\u3010A\u3011", "(A)"),
        ("<answer>C</ans", "<answer>C"),
    ],
)
def test_markup_goes_and_tags_of_answers_stay(text, wanted):
    assert tidied(text) == wanted


def test_what_stands_around_an_answer_and_what_takes_one_back():
    assert [undressed(text) for text in ("- C", "\u2192 C", "1. C", "Probably C", "[C]", "-1", "C?")] == [
        "C", "C", "C", "C", "C", "-1", "C",
    ]  # fmt: skip
    assert last_word("B. No, wait: C") == "C" and last_word("B, actually A. Sorry, C") == "C"
    assert last_word("Actually C") is None and last_word("C") is None


@pytest.mark.parametrize(
    "part", ["A. ", "C is ", "not ", "answer: ", "(A", "\n- A: wrong", "wait, ", "<p>", "{'a", "\u7b54\u6848"]
)
def test_reading_takes_no_longer_than_the_response(part):
    def seconds(count: int) -> float:
        text = part * count
        started = time.process_time()
        pick_letter(f"<answer>{text}</answer>", ["red", "blue", "green"])
        pick_letter(text, ["red", "blue", "green"])
        return time.process_time() - started

    assert seconds(60_000 // len(part)) < 2.0
