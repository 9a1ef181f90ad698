# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What published scripts make of responses that are rare, and that ours must make of them too."""

from __future__ import annotations

import time

import pytest

from eval.benchmark import BENCHMARKS
from eval.benchmarks import charades_sta, videoreasonbench
from eval.grading import after_thinking, official_grade
from eval.item import EvalItem, Medium
from eval.mmmu import said_letter, said_values
from eval.simulators import run_commands, swap_cups

BOARD = ((1, 0), (0, 0))
FILES = {"path0": frozenset("ab"), "path1": frozenset("c")}


def asked(answer: str, **more) -> EvalItem:
    known = {"problem_type": "multiple choice", "options": ("red", "blue", "green", "grey")}
    media = (Medium(path="v.mp4"),)
    return EvalItem(id="1", video="v.mp4", media=media, question="Q?", answer=answer, **known | more)


@pytest.mark.parametrize(
    ("name", "response", "letter"),
    [
        ("videomathqa", "Best answer:Best option: C", "C"),  # its list of lead-ins lacks a comma
        ("videomathqa", "Best answer: C", "B"),
        ("odvbench", "(\u0130D)", "D"),  # in small letters the dot stands by itself, and the D after it too
    ],
)
def test_the_letter_is_the_one_that_the_script_finds(name, response, letter):
    grade = BENCHMARKS[name].official
    assert [grade(asked(one), response).score for one in "ABCD"] == [float(one == letter) for one in "ABCD"]


def test_what_stands_for_no_response_holds_no_letter():
    options = tuple("abcdefghi")
    assert said_letter("API Errors", options) == "I"
    assert said_letter("API Error", options) is None and said_values("API Error") == set()


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("\u25c1think\u25b7Final Answer: 3?\u25c1/think\u25b7Final Answer: 4 \n", ": 4"),
        ("\u25c1think\u25b7Final Answer: 3\u25c1/think\u25b7 4", None),
        ("Final Answer: 3\u25c1/think\u25b7Final Answer: 4\u25c1/think\u25b75", ": 4"),  # between the first two marks
        ("Final Answer \t\n", None),
    ],
)
def test_final_answers_come_after_the_reasoning(response, answer):
    assert videoreasonbench.final_answer(response) == answer


@pytest.mark.parametrize(
    ("first", "second", "is_swapped"),
    [("a1", "b2", True), ("1a", "22", True), ("a1b", "b2", True), ("A1", "b2", False), ("a", "b2", False),
     ("a0", "b2", False), ("c1", "b2", False)],
)  # fmt: skip
def test_cups_are_named_by_small_letters_and_digits(first, second, is_swapped):
    assert swap_cups(BOARD, first, second) == (((0, 0), (0, 1)) if is_swapped else BOARD)


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("mv path0/{a} path0", FILES),
        ("ls path0/{a}", FILES),
        ("rmdir path0/{a}", FILES | {"path0": frozenset("b")}),  # it begins with rm
        ("", None),
        ("cp path0/{a}", None),
    ],
)
def test_commands_are_known_by_how_they_begin(command, wanted):
    assert run_commands(FILES, [command]) == wanted


def test_open_questions_of_mmvu_are_asked_in_the_published_words():
    item = asked("x", problem_type="open-ended", options=())
    said = BENCHMARKS["mmvu_all"].ask["official"](item, []).user
    assert said.startswith("<video>\nQuestion: Q?\n\nAnswer the given question step by step. Begin by")
    assert said.endswith(
        " format: 'Therefore, the final answer is: 'Answer: $ANSWER' (without quotes), where $ANSWER is the final"
        " answer of the question. Think step by step\nbefore answering."
    )


def test_one_digit_without_end_is_read_in_no_time():
    start = time.perf_counter()
    for filler in ("1" * 20_000, "1" + " " * 20_000 + "s"):
        said_values(filler)
        charades_sta.read_time(filler)
    assert time.perf_counter() - start < 5  # all took a minute when numbers were looked for at every digit


@pytest.mark.parametrize(
    ("response", "rest"),
    [
        ("<think>A?</think> B ", "B"),
        ("<think>A or <answer>B</answer>", "<answer>B</answer>"),  # never closed, as scripts do not mind either
        ("<think>A or <answer>B</answer></think>C", "C"),
        ("<think>A or", ""),
        ("<think>A?</think> B <think>B or", ""),  # it thinks again
        (" B\n", " B\n"),
    ],
)
def test_an_answer_tag_ends_the_reasoning_too(response, rest):
    assert after_thinking(response) == rest
    for name in ("longvideoreason", "videoholmes"):
        grade = official_grade(BENCHMARKS[name], "official", asked("B"), response)
        assert grade.score == float("B" in rest), name
