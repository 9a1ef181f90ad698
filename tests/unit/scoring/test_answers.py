# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from verl.scoring.answers import Carrier, read_answer, unwrap_truth


@pytest.mark.parametrize(
    ("response", "text", "carrier"),
    [
        ("<answer>B</answer>", "B", Carrier.TAG),
        ("<ANSWER>B</ANSWER>", "B", Carrier.TAG),
        ("< answer > B </ answer >", "B", Carrier.TAG),
        ("<answer>A</answer> no, <answer>B</answer>", "B", Carrier.TAG),
        ("<answer><answer>B</answer></answer>", "B", Carrier.TAG),
        ("<answer>A</answer> wait <answer>B", "A", Carrier.TAG),
        ("<answer></answer> \\boxed{B}", "", Carrier.TAG),
        ("It is <answer>B", "B", Carrier.OPEN_TAG),
        ("So \\boxed{A} or rather \\boxed {B}.", "B", Carrier.BOXED),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}", Carrier.BOXED),
        ("\\boxed{12", "\\boxed{12", Carrier.BARE),
        ("\\boxed{12} \\boxed{13", "12", Carrier.BOXED),
        ("The answer is A. Wait, the answer is B.", "B.", Carrier.STATEMENT),
        ("The answer is A\nHence nothing follows from all of that, as far as one can see here.", "", Carrier.NONE),
        ("**Answer:** B", "B", Carrier.STATEMENT),
        ("First this.\n### Final Answer\n\n(B) a cat that runs", "(B) a cat that runs", Carrier.STATEMENT),
        ("The answer is **B**.", "**B**.", Carrier.STATEMENT),
        ("\u7b54\u6848\u662f\uff1aB", "B", Carrier.STATEMENT),
        ("B</answer>", "B", Carrier.BARE),
        ("B" * 64, "B" * 64, Carrier.BARE),
        ("B" * 65, "", Carrier.NONE),
        ("", "", Carrier.NONE),
    ],
)
def test_one_candidate_is_chosen_by_its_place(response: str, text: str, carrier: Carrier) -> None:
    answer = read_answer(response)
    assert (answer.text, answer.carrier) == (text, carrier)


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ("<think><answer>A</answer></think><answer>B</answer>", "B"),
        ("<think>The answer is A.</think>", ""),
        ("The answer is A.</think> B", "B"),
        ("<think>hm <answer>B</answer>", "B"),
        ("<think>hm <answer>B</answer> or not", ""),
        ("<think>hm <answer>B", ""),
        ("<think>The answer is A", ""),
        ("<thought>A</thought><answer>B</answer>", "B"),
    ],
)
def test_reasoning_is_not_answering(response: str, text: str) -> None:
    assert read_answer(response).text == text


@pytest.mark.parametrize(
    ("response", "is_clean", "is_reasoned"),
    [
        ("<think>a</think><answer>B</answer>", True, True),
        ("\n<think>a</think>\n<answer>B</answer><|im_end|>\n", True, True),
        ("<think> </think><answer>B</answer>", True, False),
        ("<think>a</think> hence <answer>B</answer>", True, False),
        ("so <think>a</think><answer>B</answer>", True, False),
        ("a</think><answer>B</answer>", True, False),
        ("<think>a <answer>A</answer></think><answer>B</answer>", True, True),
        ("<answer>A</answer><think>a</think><answer>B</answer>", False, False),
        ("<think>a</think></think><answer>B</answer>", False, False),
        ("<think>a<think>b</think><answer>B</answer>", False, False),
        ("<think>a <answer>B</answer>", False, False),
        ("<answer>B</answer>.", False, False),
        ("<answer> </answer>", False, False),
        ("<answer>B", False, False),
        ("B", False, False),
    ],
)
def test_form_is_one_filled_block_at_the_end(response: str, is_clean: bool, is_reasoned: bool) -> None:
    answer = read_answer(response)
    assert (answer.is_clean, answer.is_reasoned) == (is_clean, is_reasoned)


def test_bare_text_of_any_length_can_be_allowed() -> None:
    assert read_answer("x " * 500, bare_chars=5_000).text == ("x " * 500).strip()


def test_beyond_the_limits_there_is_no_answer() -> None:
    answered = "<answer>B</answer>"
    assert read_answer("x" * 399_900 + answered).text == "B"
    assert read_answer("x" * 400_000 + answered).text == ""
    assert read_answer(answered * 500).text == "B"
    assert read_answer(answered * 501).text == ""


@pytest.mark.parametrize(
    ("stored", "answer"),
    [
        ("<answer>B</answer>", "B"),
        ('<think>{"time": [1, 2]}</think><[end_marker]>', '{"time": [1, 2]}'),
        ("<think>why</think><answer> B </answer>", "B"),
        (" B ", "B"),
        ([1, 2], [1, 2]),
        (False, False),
    ],
)
def test_ground_truth_loses_its_tags(stored: object, answer: object) -> None:
    assert unwrap_truth(stored) == answer
