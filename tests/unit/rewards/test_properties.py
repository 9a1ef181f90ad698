# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What must hold for every task whatever a model writes, and what must hold for each of them."""

from __future__ import annotations

import json
import math
import time
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.rewards.questions import BOX, INLINE, PROMPT, QUESTIONS, SVG, TUBE, accuracy, record, score
from verl.rewards.contract import RewardItem
from verl.rewards.router import Router
from verl.scoring import overlap
from verl.types import NotScorable, Score

each_task = st.sampled_from(sorted(QUESTIONS))
PROSE = st.text(st.characters(blacklist_characters="<\\", blacklist_categories=["Cs"]), max_size=80)
WRAPS = ("{}", "<answer>{}</answer>", "<think>{}", "```\n{}\n```", '{{"boxes": {}}}', "<answer><svg>{}</svg></answer>")
few = settings(max_examples=60, deadline=None)


@few
@given(each_task, st.text(max_size=200), st.sampled_from(WRAPS))
def test_score_is_finite_bounded_and_repeatable(kind: str, text: str, wrap: str) -> None:
    response, row = wrap.format(text), record(kind)
    verdict = score(response, row)
    assert all(math.isfinite(x) and 0 <= x <= 1 for x in (verdict.overall, *verdict.parts.values()))
    assert score(response, row) == verdict


@few
@given(each_task, PROSE, PROSE)
def test_prose_around_the_answer_changes_nothing(kind: str, prose: str, thought: str) -> None:
    answer = f"<answer>{QUESTIONS[kind].right}</answer>"
    assert score(prose + answer, record(kind)).overall == 1.0
    assert score(f"{prose}<think>{thought}</think>{answer}", record(kind)).overall == 1.0
    assert score(f"{answer}{prose}", record(kind)).parts["accuracy"] == 1.0


@pytest.mark.parametrize("kind", sorted(QUESTIONS))
def test_the_right_answer_scores_one_and_wrong_ones_less(kind: str) -> None:
    question = QUESTIONS[kind]
    assert score(f"<answer>{question.right}</answer>", record(kind)).overall == 1.0
    assert all(accuracy(wrong, record(kind)) < 1 for wrong in question.wrong)
    assert accuracy(" ", record(kind)) == 0
    assert score(f"<think>{question.right}</think>", record(kind)).parts["accuracy"] == 0


@few
@given(each_task, st.data(), st.sampled_from([" or ", " ", "\n", "/", "; "]))
def test_hedging_never_beats_the_best_single_answer(kind: str, data: st.DataObject, joint: str) -> None:
    answers = data.draw(st.permutations([QUESTIONS[kind].right, *QUESTIONS[kind].wrong[:2]]))
    best = max(accuracy(answer, record(kind)) for answer in answers)
    hedged = accuracy(joint.join(answers), record(kind))
    assert hedged <= best
    if kind in ("math", "preference", "spatial grounding", "tracking", "segmentation", "segmentation image"):
        assert hedged == 0


@few
@given(each_task, st.none() | st.booleans() | st.floats() | st.text(max_size=20) | st.lists(st.integers(), max_size=5))
def test_no_ground_truth_breaks_a_scorer(kind: str, truth: Any) -> None:
    row = record(kind, truth)
    [verdict] = Router().score([RewardItem(response="<answer>B</answer>", response_length=1, record=row)])
    assert isinstance(verdict, Score | NotScorable)


boxes = st.tuples(*[st.integers(0, 500)] * 2, *[st.integers(1, 499)] * 2).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)


@few
@given(boxes, boxes)
def test_a_box_is_right_for_itself_and_overlap_is_symmetric(first: list[int], second: list[int]) -> None:
    def likeness(answer: list[int], truth: list[int]) -> float:
        return accuracy(json.dumps({"boxes": answer}), record("spatial grounding", {"boxes": truth}))

    assert likeness(first, first) == 1.0
    assert likeness(first, second) == likeness(second, first)


@few
@given(st.integers(0, 99), st.integers(1, 99))
def test_a_box_nearer_the_truth_scores_more(near: int, further: int) -> None:
    row = record("spatial grounding")
    shifted = [
        accuracy(json.dumps({"boxes": [BOX[0] + by, BOX[1], BOX[2] + by, BOX[3]]}), row)
        for by in (near, near + further)
    ]
    assert shifted[0] > shifted[1]


@few
@given(st.lists(boxes, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_several_boxes_does_not_count(truth: list[list[int]], random: Any) -> None:
    row = record("spatial grounding", {"boxes": truth})
    shuffled = random.sample(truth, len(truth))
    assert accuracy(json.dumps({"boxes": shuffled}), row) == 1.0
    assert accuracy(json.dumps({"boxes": shuffled[1:]}), row) == pytest.approx(1 - 1 / len(truth))
    assert accuracy(json.dumps({"boxes": [*shuffled, truth[0]]}), row) == pytest.approx(len(truth) / (len(truth) + 1))


@few
@given(st.sets(st.sampled_from(sorted(TUBE))), st.sampled_from(sorted(TUBE)))
def test_every_second_found_is_worth_the_same(found: set[str], more: str) -> None:
    def share(seconds: set[str], kind: str, **extra: Any) -> float:
        return accuracy(json.dumps({"boxes": {key: TUBE[key] for key in seconds}, **extra}), record(kind))

    assert share(found, "tracking") == pytest.approx(len(found) / len(TUBE))
    assert share(found | {more}, "tracking") >= share(found, "tracking")
    event = share(found, "spatial-temporal grounding", time=[8, 12])
    assert event == pytest.approx(0.5 + 0.5 * len(found) / len(TUBE))


@few
@given(st.integers(0, 300), st.integers(1, 100))
def test_points_and_moments_nearer_the_truth_score_more(near: int, further: int) -> None:
    row = record("segmentation")
    points = [
        accuracy(json.dumps({**PROMPT, "positive_points": [[x + by, y] for x, y in PROMPT["positive_points"]]}), row)
        for by in (near, near + further)
    ]
    assert points[0] > points[1]


@few
@given(
    st.lists(st.sampled_from(["the", "man", "walks", "his", "brown", "dog", "to", "a", "park"]), min_size=4, max_size=9)
)
def test_leaving_words_out_never_scores_more(words: list[str]) -> None:
    row = record("open-ended", " ".join(words))
    assert accuracy(" ".join(words), row) == 1.0
    assert accuracy(" ".join(words[:-1]), row) <= accuracy(" ".join(words), row)
    row = record("ocr", " ".join(words))
    assert accuracy(" ".join(words[:-1]), row) == pytest.approx(1 - 1 / len(words))


@few
@given(st.sets(st.sampled_from("ABCD"), min_size=1), st.sets(st.sampled_from("ABCD"), min_size=1))
def test_a_part_of_the_right_options_is_worth_its_share_and_a_wrong_one_spoils_it(
    truth: set[str], ours: set[str]
) -> None:
    row, router = record("multi-answer", sorted(truth)), Router(tasks={"multi-answer": {"partial": True}})
    answer = ", ".join(sorted(ours))
    assert accuracy(answer, row) == float(ours == truth)
    assert accuracy(answer, row, router) == (len(ours) / len(truth) if ours <= truth else 0)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 9), st.integers(1, 10))
def test_a_picture_nearer_the_truth_scores_more(near: int, further: int) -> None:
    shifted = [accuracy(SVG.replace('cx="50"', f'cx="{50 + by}"'), record("svg-code")) for by in (near, near + further)]
    assert shifted[0] > shifted[1]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 9), st.integers(1, 9))
def test_a_page_with_more_of_the_truth_scores_more(few: int, more: int) -> None:
    lines = [f"<p>line {number}</p>" for number in range(20)]
    row = record("html-code", "".join(lines))
    shares = [accuracy("".join(lines[:count]), row) for count in (1 + few, 1 + few + more, 20)]
    assert shares[0] < shares[1] < shares[2] == 1.0


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 4), st.booleans())
def test_a_program_is_worth_the_tests_it_passes(known: int, partial: bool) -> None:
    row = record("code", {"tests": [f"assert f({number}) == {number**2}" for number in range(4)]})
    answer = f"def f(x):\n    return x * x if x < {known} else None"
    router = Router(tasks={"code": {"partial": partial}})
    assert accuracy(answer, row, router) == (known / 4 if partial else float(known == 4))


SCRIPTS = (
    *(
        "Stra\u00dfe",
        "na\u00efve caf\u00e9",
        "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac",
        "\u0411\u044b\u0441\u0442\u0440\u0430\u044f \u043b\u0438\u0441\u0430",
        "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
        "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
        "\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e",
        "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    ),
    *(
        "\u4ed6\u5728\u6253\u7bee\u7403",
        "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c",
        "\ud55c\uad6d\uc5b4 \ubb38\uc7a5",
        "\u10e5\u10d0\u10e0\u10d7\u10e3\u10da\u10d8",
        "\u12a0\u121b\u122d\u129b",
        "\U0001f3be 40-15",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "e\u0301te\u0301 au cafe\u0301",
        "\uff11\uff12\uff0e\uff15",
        "\u0661\u0662\u0663",
        "\u00bd \u03c0\u00b2",
        "?!",
        "-5",
        "O'Neill & Co.",
    ),
)


@pytest.mark.parametrize("text", SCRIPTS)
@pytest.mark.parametrize("kind", ["open-ended", "ocr", "math"])
def test_the_truth_itself_scores_one_in_every_script(kind: str, text: str) -> None:
    row = record(kind, text)
    assert score(f"<answer>{text}</answer>", row).overall == 1.0
    assert score(f"<think>hm</think>\n<answer>\n{text}\n</answer>\n", row).overall == 1.0


@pytest.mark.parametrize("at", range(len(SCRIPTS)))
def test_an_option_can_be_picked_by_letter_and_by_text_in_every_script(at: int) -> None:
    start = min(at, len(SCRIPTS) - 8)
    texts, letter = SCRIPTS[start : start + 8], "ABCDEFGH"[at - start]
    options = tuple(f"{label}. {text}" for label, text in zip("ABCDEFGH", texts, strict=True))
    row = replace(record("multi-answer", letter), problem_type="multiple choice", options=options)
    decomposed = unicodedata.normalize("NFD", SCRIPTS[at])
    full_width = chr(ord(letter) + 0xFEE0)
    chinese = f"\u7b54\u6848\u662f{letter}"
    for answer in (letter, options[at - start], SCRIPTS[at], decomposed, full_width, chinese):
        assert score(f"<answer>{answer}</answer>", row).overall == 1.0


@few
@given(st.integers(-(10**6), 10**6), st.sampled_from(["\uff10", "\u0660", "\u0966"]), st.booleans())
def test_digits_of_any_script_are_digits(value: int, zero: str, is_exact: bool) -> None:
    row = replace(record("math", value), problem_type="numerical" if is_exact else "regression")
    written = "".join(chr(ord(zero) + int(sign)) if sign.isdigit() else sign for sign in str(value))
    assert score(f"<answer>{written}</answer>", row).overall == 1.0


@few
@given(
    st.text(
        st.characters(blacklist_characters="<\\`$*_\"'\u201c\u2018{", blacklist_categories=["Cs", "Cc", "Cf"]),
        min_size=1,
    )
)
def test_any_text_is_the_right_answer_to_itself(text: str) -> None:
    for kind in ("open-ended", "ocr"):
        row = record(kind, text)
        [verdict] = Router().score([RewardItem(response=f"<answer>{text}</answer>", response_length=1, record=row)])
        assert isinstance(verdict, NotScorable) or verdict.overall == 1.0


UNITS = [
    " ",
    "\n",
    "<answer>",
    "</think>",
    "{",
    "[",
    '{"boxes":',
    '"8":',
    "1,",
    "\\boxed{",
    "A, ",
    "A or ",
    "tie ",
    "\ufdfa",
]
UNITS += ["running ", "\u4ed6", "response 1 ", "and ", "```\n", "0.0,", "x\u0301"]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", INLINE)
def test_no_response_takes_long_to_score(kind: str, unit: str) -> None:
    flood = (unit * 100_000)[:100_000]
    for response in (flood, f"<answer>{flood[:63_000]}</answer>"):
        assert _seconds(response, kind) < 0.05


@pytest.mark.parametrize("kind", INLINE)
def test_no_well_formed_response_takes_long_to_score(kind: str) -> None:
    words = " ".join(f"{chr(97 + i % 26)}{i}ational" for i in range(9_000))[:99_000]
    tube = json.dumps({"time": [8, 12], "boxes": {str(second): BOX for second in range(2_200)}})
    many = json.dumps({"boxes": [BOX] * 120})
    for response in (words, tube, many):
        assert _seconds(f"<answer>{response}</answer>", kind) < 0.05


def _seconds(response: str, kind: str) -> float:
    """Processor time of the fastest of a few attempts, none of which knows of the one before."""
    seconds = []
    for _ in range(5):
        overlap._candidate.cache_clear()
        overlap._folded.cache_clear()
        start = time.process_time()
        score(response, record(kind))
        seconds.append(time.process_time() - start)
        if seconds[-1] < 0.05:
            break
    return min(seconds)
