# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl.errors import ConfigError, ContractError
from verl.rewards.contract import TASKS, Grade, RewardItem, Task, find_task
from verl.rewards.penalties import RepetitionPenalty
from verl.rewards.router import Router, validate_answer
from verl.scoring import overlap
from verl.types import NotScorable, Record, Score

OPTIONS = ("A. a dog", "B. a red car", "C. a blue bus", "D. nothing")
TRUTHS: dict[str, Any] = {
    "multiple choice": "B",
    "numerical": "12",
    "regression": "12.5",
    "boolean": "Yes",
    "temporal grounding": '{"time": [10, 20]}',
}
HEDGES = {
    "multiple choice": ["A", "B", "C", "D"],
    "numerical": ["11", "12", "13"],
    "regression": ["6", "12.5", "20"],
    "boolean": ["Yes", "No"],
    "temporal grounding": ['{"time": [0, 5]}', '{"time": [10, 20]}', '{"time": [10, 15]}'],
}
PROSE = st.text(st.characters(blacklist_characters="<\\", blacklist_categories=["Cs"]), max_size=80)


def record(problem_type: str, answer: Any = None) -> Record:
    return Record(
        id="r1",
        where="train.jsonl:1",
        problem="What?",
        answer=TRUTHS[problem_type] if answer is None else answer,
        problem_type=problem_type,
        data_type="video",
        options=OPTIONS if problem_type == "multiple choice" else (),
    )


def score(response: str, row: Record, **settings: Any) -> Score:
    [verdict] = Router(**settings).score([RewardItem(response=response, response_length=5, record=row)])
    assert isinstance(verdict, Score)
    return verdict


@pytest.fixture(params=sorted(TRUTHS))
def problem_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


each_type = st.sampled_from(sorted(TRUTHS))


@given(each_type, st.text(max_size=300), st.sampled_from(["{}", "<answer>{}</answer>", "<think>{}", "\\boxed{{{}}}"]))
def test_score_is_finite_bounded_and_repeatable(kind: str, text: str, wrap: str) -> None:
    response = wrap.format(text)
    verdict = score(response, record(kind))
    assert all(math.isfinite(x) and 0 <= x <= 1 for x in (verdict.overall, *verdict.parts.values()))
    assert score(response, record(kind)) == verdict


@given(each_type, PROSE, PROSE)
def test_prose_before_the_answer_tag_changes_nothing(kind: str, prose: str, thought: str) -> None:
    answer = f"<answer>{TRUTHS[kind]}</answer>"
    assert score(prose + answer, record(kind)).overall == 1.0
    assert score(f"{prose}<think>{thought}</think>{answer}", record(kind)).overall == 1.0


@given(each_type, st.data(), st.sampled_from([" or ", ", ", " ", "\n", "/", " and ", "; "]))
def test_hedging_never_beats_the_best_single_answer(kind: str, data: st.DataObject, joint: str) -> None:
    answers = data.draw(st.lists(st.sampled_from(HEDGES[kind]), min_size=2, max_size=4, unique=True))
    best = max(score(f"<answer>{answer}</answer>", record(kind)).parts["accuracy"] for answer in answers)
    hedged = score(f"<answer>{joint.join(answers)}</answer>", record(kind)).parts["accuracy"]
    assert hedged <= best
    if kind != "temporal grounding" and len(set(answers)) > 1:
        assert hedged == 0


@given(st.integers(-(10**9), 10**9) | st.floats(-1e6, 1e6, allow_nan=False))
def test_every_numeric_truth_scores_one_against_itself(value: float) -> None:
    for kind in ("numerical", "regression"):
        row = record(kind, value)
        if validate_answer(row) is None:
            assert score(f"<answer>{value}</answer>", row).overall == 1.0


@given(st.integers(1, 14), st.data())
def test_every_option_can_be_the_answer_by_letter_and_by_text(count: int, data: st.DataObject) -> None:
    texts = data.draw(
        st.lists(st.from_regex(r"[a-z]{2,8} [0-9]{1,3}", fullmatch=True), min_size=count, max_size=count, unique=True)
    )
    at = data.draw(st.integers(0, count - 1))
    letter = "ABCDEFGHIJKLMN"[at]
    options = tuple(f"{label}. {text}" for label, text in zip("ABCDEFGHIJKLMN", texts, strict=False))
    row = Record(
        id="1", where="", problem="", answer=letter, problem_type="multiple choice", data_type="video", options=options
    )
    for response in (letter, letter.lower(), texts[at], options[at]):
        assert score(f"<answer>{response}</answer>", row).overall == 1.0


def test_weights_and_format_policy_are_settings() -> None:
    response, row = "<answer>B</answer>", record("multiple choice")
    assert score(response, row, accuracy_weight=0.5, format_weight=0.5).overall == 1.0
    assert score("B", row, accuracy_weight=0.5, format_weight=0.5).overall == 0.5
    assert score(response, row, format_policy="think_answer").parts["format"] == 0.0
    assert score("<think>x</think>" + response, row, format_policy="think_answer").overall == 1.0


@pytest.mark.parametrize(
    "settings",
    [
        {"accuracy_weight": 1.0},
        {"format_weight": -0.1},
        {"format_policy": "think-answer"},
        {"bonus": 1},
        {"tasks": {"mathss": {}}},
        {"tasks": {"math": {"second": 1}}},
        {"tasks": {"math": {"seconds": 0}}},
        {"tasks": {"math": {"format_policy": "x"}}},
        {"tasks": {"open-ended": {}, "video description": {"format_weight": 0.0}}},
        {"overlong_penalty": {"max_length": 10}},
        {"overlong_penalty": {"max_length": 10, "buffer": 20}},
        {"repetition_penalty": {"ngrams": 3}},
        {"repetition_penalty": {"weight": 2}},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Router(**settings)


def test_a_task_can_have_settings_of_its_own() -> None:
    router = Router(tasks={"Multi_Answer": {"partial": True, "format_policy": "think_answer", "format_weight": 0.0}})
    row = replace(record("multiple choice", "A,C"), problem_type="multi-answer")
    items = [RewardItem(response="<answer>A</answer>", response_length=5, record=row)]
    [verdict] = router.score(items)
    assert isinstance(verdict, Score)
    assert (verdict.parts["accuracy"], verdict.parts["format"], verdict.overall) == (0.5, 0.0, 0.45)
    assert Router().score(items)[0] == Score(overall=0.1, parts={"accuracy": 0.0, "format": 1.0, "readable": 1.0})
    other = router.score(
        [RewardItem(response="<answer>B</answer>", response_length=5, record=record("multiple choice"))]
    )
    assert isinstance(other[0], Score) and other[0].overall == 1.0


@pytest.mark.parametrize(("length", "penalty"), [(1, 0.0), (80, 0.0), (90, -0.25), (100, -0.5), (500, -0.5)])
def test_soft_penalty_for_overlong_responses(length: int, penalty: float) -> None:
    router = Router(overlong_penalty={"max_length": 100, "buffer": 20, "weight": 0.5})
    item = RewardItem(response="<answer>B</answer>", response_length=length, record=record("multiple choice"))
    [verdict] = router.score([item])
    assert isinstance(verdict, Score)
    assert verdict.parts["overlong"] == pytest.approx(penalty)
    assert verdict.overall == pytest.approx(1.0 + penalty)


@given(st.text(max_size=200))
def test_repetition_penalty_is_bounded(text: str) -> None:
    penalty = RepetitionPenalty(ngram=3, weight=0.5).of(text)
    assert -0.5 <= penalty <= 0


def test_repetition_costs_in_proportion() -> None:
    penalty = RepetitionPenalty(ngram=2, weight=1.0)
    assert penalty.of("a man walks his dog") == 0.0
    assert penalty.of("no no no no no") == -0.75
    assert penalty.of("\u4ed6" * 10 + "\u5728") == pytest.approx(-0.8)
    assert penalty.of("") == penalty.of("no") == penalty.of("no no") == 0.0
    response = "<answer>B</answer> " + "wait " * 50
    assert score(response, record("multiple choice"), repetition_penalty={}).parts["repetition"] < -0.4


def test_long_untagged_prose_is_not_searched() -> None:
    prose = "I count 12 people, though the light is poor and some of them may be hidden from view."
    assert score(prose, record("numerical")).parts == {"accuracy": 0.0, "format": 0.0, "readable": 0.0}
    spoken = prose.replace("12 people", "people") + ' {"time": [10, 20]}'
    assert score(spoken, record("temporal grounding")).parts["accuracy"] == 1.0


def test_cut_off_response_gets_no_format_score() -> None:
    item = RewardItem(
        response="<answer>B</answer>", response_length=5, record=record("multiple choice"), truncated=True
    )
    [verdict] = Router().score([item])
    assert isinstance(verdict, Score)
    assert verdict.parts == {"accuracy": 1.0, "format": 0.0, "readable": 1.0}


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("multiple choice", "E"),
        ("multiple choice", "A or B"),
        ("multiple choice", ["A"]),
        ("numerical", "about ten or twelve"),
        ("numerical", True),
        ("regression", float("nan")),
        ("boolean", ""),
        ("boolean", "perhaps"),
        ("temporal grounding", '{"time": [20, 10]}'),
        ("temporal grounding", "soon"),
    ],
)
def test_invalid_ground_truth_is_masked_with_a_reason(kind: str, answer: Any) -> None:
    row = record(kind, answer)
    [verdict] = Router().score([RewardItem(response="<answer>B</answer>", response_length=1, record=row)])
    assert isinstance(verdict, NotScorable)
    assert repr(answer) in verdict.reason
    assert validate_answer(row) == verdict.reason


def test_valid_ground_truth_has_no_objection(problem_type: str) -> None:
    assert validate_answer(record(problem_type)) is None


@pytest.mark.parametrize(
    ("spelled", "known"),
    [
        ("Multiple_Choice", "multiple choice"),
        ("multiple-choice", "multiple choice"),
        ("number", "numerical"),
        ("Binary Classification", "boolean"),
        ("temporal_grounding", "temporal grounding"),
        ("spatial_temporal-grounding", "spatial-temporal grounding"),
        ("OCR", "ocr"),
        ("mathematics", "math"),
        ("open_ended", "open-ended"),
        ("free-form", "open-ended"),
        ("video QA", "open-ended"),
        ("Video Description", "open-ended"),
        ("caption", "open-ended"),
        ("critic", "llava"),
        ("preference", "llava"),
        ("coding", "code"),
        ("svg_code", "svg"),
        ("HTML-code", "html"),
        ("segmentation_image", "segmentation"),
        ("multi_answer", "multi-answer"),
    ],
)
def test_every_spelling_of_a_problem_type_is_known(spelled: str, known: str) -> None:
    assert find_task(spelled) is find_task(known)


def test_unknown_problem_type_names_the_nearest() -> None:
    reason = validate_answer(replace(record("boolean"), problem_type="boolaen"))
    assert reason is not None and "'boolaen'" in reason and "did you mean 'boolean'" in reason


class Broken(Task[str]):
    max_chars = 100

    def truth(self, record: Record) -> str:
        return str(record.answer)

    def grade(self, candidate: str, truth: str, record: Record) -> Grade:
        if candidate == "raise":
            raise ZeroDivisionError("no luck")
        return Grade(accuracy=float(candidate), is_readable=True, is_typed=True)


@pytest.fixture
def broken_task(monkeypatch: pytest.MonkeyPatch) -> Iterator[Record]:
    assert "boolean" in TASKS
    monkeypatch.setitem(TASKS._entries, "broken", Broken())
    yield Record(id="row-7", where="a.jsonl:7", problem="", answer="x", problem_type="broken", data_type="text")


def test_scorer_that_raises_stops_the_run_and_names_itself(broken_task: Record) -> None:
    with pytest.raises(ContractError, match=r"'broken'.*ZeroDivisionError.*'row-7'.*no luck") as caught:
        score("<answer>raise</answer>", broken_task)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("accuracy", ["nan", "inf", "1.5", "-0.1"])
def test_score_outside_the_contract_stops_the_run(broken_task: Record, accuracy: str) -> None:
    with pytest.raises(ContractError, match=r"'broken'.*'row-7'"):
        score(f"<answer>{accuracy}</answer>", broken_task)


UNITS = [" ", "\n", "<", "< ", "<answer>", "</answer>", "<think>", "</think>", "{", "[", "\\boxed{", "1", "1,", "-"]
UNITS += ["the answer is ", "answer:", "A ", "A or ", "yes ", "one ", "</s>", "\ufdfa", '{"time":', '"', "$", "*"]


@pytest.mark.parametrize("unit", UNITS)
def test_no_response_takes_long_to_score(problem_type: str, unit: str) -> None:
    flood = (unit * 100_000)[:100_000]
    row = record(problem_type)
    for response in (
        flood,
        "<answer>" + flood,
        f"<answer>{flood[:63_000]}</answer>",
        f"<answer>{flood[:2_000]}</answer>",
    ):
        seconds = []
        for _ in range(5):
            overlap._candidate.cache_clear()
            overlap._folded.cache_clear()
            start = time.process_time()
            score(response, row)
            seconds.append(time.process_time() - start)
            if seconds[-1] < 0.05:
                break
        assert min(seconds) < 0.05
