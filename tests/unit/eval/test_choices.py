# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from string import ascii_uppercase

import pytest

from eval.benchmark import BENCHMARKS
from eval.choices import letter_list
from eval.grading import official_grade, robust_grade
from eval.item import EvalItem, Medium, Subtitle
from tests.metadata import video_metadata
from verl.types import VideoMetadata

CARRIED = json.loads((Path(__file__).parents[2] / "vectors" / "eval_choices.json").read_text())
CASES = CARRIED["cases"]
NOTHING = ("", "WRONG", "<RANDOM>")  # what scripts return, or draw by lot, where they find no letter
SCORED = {"mlvu": "mlvu_dev"}  # under another name here
PLAIN = tuple(name for name in CASES[0]["official"])


def question(case) -> EvalItem:
    options = tuple(option[3:] for option in CARRIED["option_sets"][case["set"]])
    return choice(options, case["gold"], case["id"])


def choice(options, answer, id="1", media=(), **fields) -> EvalItem:
    return EvalItem(
        id=id,
        video="a.mp4",
        media=media,
        question="Q?",
        answer=answer,
        problem_type="multiple choice",
        options=tuple(options),
        fields=fields,
    )


def film(*times: float) -> VideoMetadata:
    return video_metadata(tuple(map(int, times)), 32, 32, fps=1.0, timestamps=times, total_frames=100)


@pytest.mark.parametrize("name", PLAIN)
def test_an_official_grade_is_what_the_published_script_gives(name):
    grade = BENCHMARKS[SCORED.get(name, name)].official
    wrong = []
    for case in CASES:
        found, wanted = grade(question(case), case["response"]), case["official"][name]
        if isinstance(wanted, str):
            wanted_letter = None if wanted in NOTHING else wanted
            wanted = int(wanted_letter == case["gold"])
            if found.parsed != wanted_letter:
                wrong.append((case["id"], case["response"], wanted_letter, found))
        if found.score != wanted:
            wrong.append((case["id"], case["response"], wanted, found))
    assert not wrong


def test_our_own_reading_agrees_with_people_and_is_almost_never_right_by_accident():
    kinds = Counter()
    for case in CASES:
        is_right = robust_grade(question(case), case["response"]).score == 1.0
        kinds[is_right, case["intended"] == case["gold"]] += 1
    assert kinds[True, False] <= 1
    assert kinds[True, True] + kinds[False, False] >= len(CASES) * 150 / 159


@pytest.mark.parametrize("name", [*(SCORED.get(name, name) for name in PLAIN), "mlvu_test", "mmvu", "motionbench"])
def test_an_empty_response_is_wrong(name):
    for response in ("", " \n"):
        assert BENCHMARKS[name].official(choice(("red", "blue"), "B"), response).score == 0.0


@pytest.mark.parametrize(
    ("response", "character"),
    [
        ("(A (B", "A"),
        ("the red (that is, B (blue))", "t"),
        ("((A)", None),
        ("\n( C )", "C"),
        (")A", None),
        ("A(B)", "B"),
    ],
)
def test_of_several_brackets_the_first_counts_to_lvbench_and_motionbench(response, character):
    for name in ("lvbench", "motionbench"):
        assert BENCHMARKS[name].official(choice("abc", "A"), response).parsed == character


def test_only_the_answer_tag_is_read_where_our_own_prompt_asked_for_one():
    item, response = choice(("red", "blue", "green"), "C"), "<think>A or B?</think><answer>C</answer>"
    assert official_grade(BENCHMARKS["mlvu_dev"], "thinking", item, response).score == 1.0
    assert official_grade(BENCHMARKS["mlvu_dev"], "official", item, response).score == 0.0


DIRECTLY = "Q?\nA. a\nB. b\nAnswer with the option's letter from the given choices directly.|"
SELECT = "Select the best answer to the following multiple-choice question based on the video. Respond with"
PROMPTS = {
    "mvbench": "<video>Question: Q?\nOptions:\n(A) a\n(B) b\nOnly give the best option.|Best option:(",
    "mlvu_dev": "<video>Question: Q?\nOptions:\n(A) a\n(B) b\nOnly give the best option.|Best Option: (",
    "longvideobench": f"<video>Question: {DIRECTLY}",
    "minerva": f"<video>{DIRECTLY}",
    "odvbench": f"<video>{DIRECTLY}",
    "lvbench": "<video>Q?\n(A) a\n(B) b\nAnswer the question with the option letter|",
    "livesports3k": "<video>Q?\nA: a\nB: b\nPlease select the correct answer.|Answer:",
    "videomathqa_mbin": f"<video>{SELECT} the letter (A or B) of the correct option.\nQ?\nA. a\nB. b\n\n"
    "Answer with the option's letter (A or B) from the given choices directly.|",
    "videomme": f"<video>{SELECT} only the letter (A or B) of the correct option.\nQ?\nA. a\nB. b\n"
    "The best answer is:|",
}


@pytest.mark.parametrize("name", PROMPTS)
def test_the_official_prompt_has_the_published_words(name):
    item = choice("ab", "A", media=(Medium(path="a.mp4"),))
    words = BENCHMARKS[name].ask["official"](item, [])
    assert f"{words.user}|{words.prefix}" == PROMPTS[name]


@pytest.mark.parametrize(
    ("count", "letters"), [(1, "A"), (2, "A or B"), (4, "A, B, C, or D"), (8, "A, B, C, D, E, F, G, or H")]
)
@pytest.mark.parametrize("style", ["instruct", "thinking"])
def test_our_own_prompts_name_the_letters_there_are(count, letters, style):
    item = choice(ascii_uppercase[:count].lower(), "A", media=(Medium(path="a.mp4"),))
    assert letter_list(item) == letters
    user = BENCHMARKS["mlvu_test"].ask[style](item, []).user
    assert f"({letters})" in user and user.startswith("<video>Q?\nA. a\n") and "<answer> </answer>" in user


def test_subtitles_go_with_the_frames_that_are_seen():
    said = tuple(Subtitle(start=n, end=n + 1.0, text=f"word {n}") for n in range(6))
    item = choice("ab", "A", media=(Medium(path="a.mp4"),))
    spoken = EvalItem(**{name: getattr(item, name) for name in item.__slots__} | {"subtitles": said})
    asked = {name: BENCHMARKS[name].ask["official"] for name in ("videomme", "videomme_subtitles")}
    with_words = asked["videomme_subtitles"](spoken, [film(1.0, 4.5)]).user
    assert with_words.startswith("<video>This video's subtitles are listed below:\nword 1\nword 4\nSelect the best")
    silent = asked["videomme"](item, [film(1.0)]).user
    assert asked["videomme"](spoken, [film(1.0)]).user == silent
    assert asked["videomme_subtitles"](item, [film(1.0)]).user == silent
    placed = BENCHMARKS["longvideobench_subtitles"].ask["official"](spoken, [film(0.5, 4.5)]).user
    assert placed.startswith("<video>[0.0s - 1.0s] word 0\n[4.0s - 5.0s] word 4\nQuestion: Q?")
    second = BENCHMARKS["videomme_v2_subtitles"].ask["official"]
    led = "<video>These are the frames of a video. This video's subtitles are listed below:\n"
    assert second(spoken, [film(0.5)]).user.startswith(f"{led}word 0 word 1 word 2 word 3 word 4 word 5\nQuestion: Q?")
    assert second(item, [film(0.5)]).user.startswith(f"{led}\nQuestion: Q?")
    plain = BENCHMARKS["videomme_v2"].ask["official"](spoken, [film(0.5)]).user
    assert plain.startswith("<video>These are the frames of a video.Question: Q?\nA. a\nB. b\nSelect the best answer")
