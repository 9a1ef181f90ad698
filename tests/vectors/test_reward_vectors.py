# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Published vectors: what public reward functions were run on, and the score this library gives on purpose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from verl.rewards.contract import RewardItem
from verl.rewards.router import Router, validate_answer
from verl.scoring.answers import read_answer
from verl.scoring.choices import Options
from verl.scoring.numbers import mean_relative_accuracy, read_number
from verl.scoring.spans import read_spans, temporal_iou
from verl.types import NotScorable, Record, Score

HERE = Path(__file__).parent

# The official script compares floats, and 1 - 0.8 is a little less than 0.2 there.
FLOAT_BOUNDARIES = {(6, 5): 0.7, (16, 20): 0.7, (0, 0): 1.0}

# Readable for a person, but outside the grammar: the letter stands in prose, JSON, a list, or another alphabet.
DECLINED = {"mc073", "mc082", "mc087", "mc088", "mc113", "mc114", "mc115", "mc116", "mc119", "mc132", "mc147"}


def load(name: str) -> list[dict[str, Any]]:
    return json.loads((HERE / f"{name}.json").read_text())


CASES = [case for file in sorted(HERE.glob("rewards_*.json")) for case in load(file.stem)]


def item(case: dict[str, Any]) -> RewardItem:
    record = Record(
        id=case["id"],
        where=case["id"],
        problem="What happens?",
        answer=case["answer"],
        problem_type=case["problem_type"],
        data_type=case.get("data_type", "video"),
        options=tuple(case.get("options", ())),
        fields={"partial": case["partial"]} if "partial" in case else {},
    )
    return RewardItem(response=case["response"], response_length=1, record=record)


@pytest.mark.parametrize("policy", ["answer", "think_answer"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_response_gets_the_recommended_score(case: dict[str, Any], policy: str) -> None:
    [verdict] = Router(format_policy=policy).score([item(case)])
    if case["accuracy"] is None:
        assert isinstance(verdict, NotScorable)
        assert validate_answer(item(case).record) == verdict.reason
        return
    form = case["format" if policy == "answer" else "think_format"]
    assert isinstance(verdict, Score)
    accuracy = verdict.parts["accuracy"]
    if "accuracy_range" in case:  # pictures and pages: the design decides, within bounds
        low, high = case["accuracy_range"]
        assert low <= accuracy <= high
    else:
        assert accuracy == pytest.approx(case["accuracy"], abs=1e-6)
    assert verdict.parts["format"] == form
    assert verdict.overall == pytest.approx(0.9 * accuracy + 0.1 * form, abs=1e-6)


@pytest.mark.parametrize("case", load("answers_multiple_choice"), ids=lambda case: case["id"])
def test_choice_is_the_intended_one_and_never_another(case: dict[str, Any]) -> None:
    letter = Options.of(case["options"]).pick(read_answer(case["response"]).text)
    assert letter == (None if case["id"] in DECLINED else case["intended"])


@pytest.mark.parametrize("case", load("answers_regression"), ids=str)
def test_mean_relative_accuracy_is_the_official_one_but_for_float_error(case: dict[str, Any]) -> None:
    prediction, truth = read_number(case["prediction"]), read_number(case["truth"])
    assert prediction and truth
    expected = FLOAT_BOUNDARIES.get((case["prediction"], case["truth"]), case["official"])
    assert mean_relative_accuracy(prediction, truth) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("case", load("answers_temporal_iou"), ids=str)
def test_temporal_iou_is_the_published_one_where_the_truth_has_a_length(case: dict[str, Any]) -> None:
    prediction, truth = read_spans(case["prediction"]), read_spans(case["truth"])
    if truth is None:
        assert case["truth"][0] >= case["truth"][1]
        return
    iou = temporal_iou(prediction.spans, truth.spans) if prediction else 0.0
    assert iou == pytest.approx(case["iou"], abs=1e-9)
