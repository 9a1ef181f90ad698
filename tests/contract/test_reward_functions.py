# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Reward files written for the reference system run unchanged, and wrong ones name themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from verl.config.worker import RewardConfig
from verl.errors import ConfigError, ContractError
from verl.rewards.contract import RewardItem
from verl.rewards.custom import FunctionReward, item_of, load_reward, row_of
from verl.rewards.router import Router
from verl.types import NotScorable, Record, Score

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = EXAMPLES / "video_rl" / "reward_function" / "video_reward.py"
UNIFIED = EXAMPLES / "unified_rl" / "reward_function" / "unified.py"
VECTORS = Path(__file__).parents[1] / "vectors"

BATCH = """
REWARD_NAME = "lengths"
REWARD_TYPE = "batch"

def compute_score(reward_inputs, bonus=0.0):
    return [
        {"overall": len(x["response"]) + bonus, "words": None, "tokens": x["response_length"]} for x in reward_inputs
    ]
"""


def item(response: str = "<answer>B</answer>", answer: Any = "B", **fields: Any) -> RewardItem:
    record = Record(
        id="7",
        where="train.jsonl:8",
        problem="<video>Which?",
        answer=answer,
        problem_type="multiple choice",
        data_type="video",
        options=("A. a dog", "B. a cat"),
        fields=fields,
    )
    return RewardItem(response=response, response_length=9, record=record)


@pytest.fixture
def reward(tmp_path: Path) -> Callable[..., FunctionReward]:
    def write(source: str, name: str = "compute_score", **kwargs: Any) -> FunctionReward:
        (tmp_path / "reward.py").write_text(source)
        return FunctionReward(f"{tmp_path}/reward.py:{name}", kwargs)

    return write


def test_batch_function_sees_all_items_and_its_kwargs(reward: Callable[..., FunctionReward]) -> None:
    ours = reward(BATCH, bonus=0.5)
    assert (ours.name, ours.is_sequential) == ("lengths", False)
    assert ours.score([item("ab"), item("abc")]) == [
        Score(overall=2.5, parts={"tokens": 9.0}),
        Score(overall=3.5, parts={"tokens": 9.0}),
    ]
    assert ours.score([]) == []


def test_sequential_function_sees_one_item_at_a_time(reward: Callable[..., FunctionReward]) -> None:
    ours = reward('REWARD_TYPE = "sequential"\ndef main(x): return {"overall": x["response"] == "b"}', "main")
    assert ours.is_sequential
    assert [verdict.overall for verdict in ours.score([item("a"), item("b")])] == [0.0, 1.0]


def test_settings_are_those_of_the_file_even_when_the_function_is_imported(
    reward: Callable[..., FunctionReward],
) -> None:
    assert reward('REWARD_TYPE = "sequential"\nfrom json import dumps as compute_score').is_sequential


def test_type_and_function_name_have_defaults(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text('def main(rows): return [{"overall": 1} for _ in rows]')
    ours = load_reward(RewardConfig(reward_function=str(tmp_path / "mine.py")))
    assert not ours.is_sequential
    assert ours.score([item()]) == [Score(overall=1.0)]


def test_function_sees_the_fields_of_the_reference() -> None:
    row = row_of(item(problem_id=12))
    assert row == {
        "response": "<answer>B</answer>",
        "response_length": 9,
        "truncated": False,
        "ground_truth": "B",
        "data_type": "video",
        "problem_type": "multiple choice",
        "problem": "<video>Which?",
        "problem_id": 12,
        "options": ["A. a dog", "B. a cat"],
    }
    assert row_of(item(problem_reserved_text="Which one?"))["problem"] == "Which one?"
    assert row_of(item())["problem_id"] == "7"
    assert row_of(item_of(row)) == {**row, "problem_id": "12"}


def test_numpy_scalars_are_numbers(reward: Callable[..., FunctionReward]) -> None:
    ours = reward("import numpy\ndef compute_score(x): return [{'overall': numpy.float32(0.5), 'n': numpy.array(2)}]")
    assert ours.score([item()]) == [Score(overall=0.5, parts={"n": 2.0})]


def test_overall_none_masks_the_response(reward: Callable[..., FunctionReward]) -> None:
    [verdict] = reward("def compute_score(x): return [{'overall': None, 'accuracy': 1.0}]").score([item()])
    assert isinstance(verdict, NotScorable)
    assert "compute_score" in verdict.reason


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", "returned NoneType for 1"),
        ("{'overall': 1.0}", "returned dict for 1"),
        ("[]", "returned list of 0 for 1"),
        ("'x'", "returned str"),
        ("[1.0]", "returned 1.0"),
        ("[{'accuracy': 1.0}]", 'key "overall"'),
        ("[{'overall': float('nan')}]", "overall = nan"),
        ("[{'overall': 1.0, 'accuracy': float('inf')}]", "accuracy = inf"),
        ("[{'overall': '1'}]", "overall = '1'"),
        ("[{'overall': [1.0]}]", "overall = "),
    ],
)
def test_wrong_return_value_names_file_function_and_item(
    reward: Callable[..., FunctionReward], returned: str, message: str
) -> None:
    with pytest.raises(ContractError) as caught:
        reward(f"def compute_score(rows): return {returned}").score([item()])
    assert message in str(caught.value)
    assert "reward.py:compute_score" in str(caught.value)
    if "[{" in returned:
        assert "record '7' (train.jsonl:8)" in str(caught.value)


@pytest.mark.parametrize("kind", ["batch", "sequential"])
def test_function_that_raises_keeps_its_own_error_as_the_cause(
    reward: Callable[..., FunctionReward], kind: str
) -> None:
    ours = reward(f"REWARD_TYPE = '{kind}'\ndef compute_score(x): raise KeyError('oops')")
    with pytest.raises(ContractError, match=r"reward.py:compute_score raised KeyError.*7.*oops") as caught:
        ours.score([item()])
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("source", "name"),
    [("REWARD_TYPE = 'Batch'\ndef f(x): ...", "f"), ("f = 3", "f"), ("def g(x): ...", "f")],
)
def test_unusable_file_is_refused_before_the_run(reward: Callable[..., FunctionReward], source: str, name: str) -> None:
    with pytest.raises(ConfigError):
        reward(source, name)


def test_without_a_function_rows_are_scored_by_problem_type() -> None:
    ours = load_reward(RewardConfig(accuracy_weight=0.8, format_weight=0.2))
    assert isinstance(ours, Router)
    [verdict] = ours.score([item("B")])
    assert isinstance(verdict, Score)
    assert verdict.overall == pytest.approx(0.8)
    kwargs = {"format_policy": "think_answer"}
    [verdict] = load_reward(RewardConfig(reward_function_kwargs=kwargs)).score([item()])
    assert isinstance(verdict, Score)
    assert verdict.parts["format"] == 0.0
    with pytest.raises(ConfigError, match="bonus"):
        load_reward(RewardConfig(reward_function_kwargs={"bonus": 1}))


@pytest.mark.parametrize(("file", "kwargs"), [(EXAMPLE, {"debug_sample_rate": 1.0}), (UNIFIED, {})])
def test_example_file_scores_like_the_built_in_reward(file: Path, kwargs: dict[str, Any]) -> None:
    ours = FunctionReward(f"{file}:compute_score", kwargs)
    cases = [case for file in VECTORS.glob("rewards_*.json") for case in json.loads(file.read_text())]
    items = [
        item_of(
            {
                "response": case["response"],
                "ground_truth": case["answer"],
                "problem_type": case["problem_type"],
                "problem_id": case["id"],
                "data_type": case.get("data_type", "video"),
                **({"partial": True} if case.get("partial") else {}),
                "options": case.get("options"),
            }
        )
        for case in cases
    ]
    for ours_is, built_in in zip(ours.score(items), Router().score(items), strict=True):
        assert isinstance(ours_is, Score) == isinstance(built_in, Score)
        if isinstance(ours_is, Score) and isinstance(built_in, Score):
            assert ours_is.overall == built_in.overall
            assert ours_is.parts["accuracy"] == built_in.parts["accuracy"]


def test_example_file_refuses_weights_that_do_not_add_up() -> None:
    ours = FunctionReward(f"{EXAMPLE}:compute_score", {"accuracy_weight": 0.5})
    with pytest.raises(ContractError) as caught:
        ours.score([item()])
    assert isinstance(caught.value.__cause__, ValueError)
