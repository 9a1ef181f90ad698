# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from verl.algorithms.advantage import ADVANTAGES, Advantage, advantage, find_advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, AlgorithmSettings, Conventions, Needs
from verl.errors import ConfigError, ContractError

PLUGIN = """
from verl.algorithms.advantage import advantage
from verl.algorithms.contract import AdvantageOutput, Needs

@advantage(needs=Needs.GROUP)
def declared(x):
    return AdvantageOutput.broadcast(x.scores * x.settings.options["scale"], x.mask)

def plain(x):
    return AdvantageOutput.broadcast(x.scores, x.mask)

number = 3
"""


def given(**changes: object) -> AdvantageInput:
    fields: dict[str, object] = {
        "rewards": torch.tensor([[0.0, 1.0], [2.0, 5.0]]),
        "mask": torch.tensor([[True, True], [True, False]]),
        "group": torch.tensor([0, 0]),
    }
    return AdvantageInput(**{**fields, **changes})  # type: ignore[arg-type]


def returning(output: object) -> Advantage:
    return Advantage("mine", lambda x: output)  # type: ignore[arg-type, return-value]


def test_what_an_estimator_returns_is_masked_and_takes_the_dtype_of_the_rewards() -> None:
    everywhere = torch.full((2, 2), 7.0, dtype=torch.float64)
    output = returning(AdvantageOutput(advantages=everywhere, returns=everywhere)).compute(given())
    assert output.advantages.tolist() == output.returns.tolist() == [[7.0, 7.0], [7.0, 0.0]]
    assert output.advantages.dtype == torch.float32


def test_scores_are_sums_over_the_mask() -> None:
    assert given().scores.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("nothing useful", "returned str, not an AdvantageOutput"),
        (AdvantageOutput(advantages=torch.zeros(2, 3), returns=torch.zeros(2, 3)), r"\(2, 3\), expected \(2, 2\)"),
        (
            AdvantageOutput(advantages=torch.tensor([[0, 0], [torch.nan, 0]]), returns=torch.zeros(2, 2)),
            "nan in row 1, token 0",
        ),
    ],
)
def test_an_estimator_that_breaks_its_promise_is_named(output: object, message: str) -> None:
    with pytest.raises(ContractError, match=rf"'mine' returned.*{message}|{message}"):
        returning(output).compute(given())


def test_nan_outside_the_mask_is_nobodys_problem() -> None:
    values = torch.tensor([[1.0, 1.0], [1.0, torch.nan]])
    output = returning(AdvantageOutput(advantages=values, returns=values)).compute(given())
    assert output.advantages.tolist() == [[1.0, 1.0], [1.0, 0.0]]


def test_what_was_not_supplied_is_named() -> None:
    needy = Advantage("mine", lambda x: None, Needs.CRITIC | Needs.GREEDY_BASELINE | Needs.COMPONENTS)  # type: ignore[arg-type, return-value]
    settings = AlgorithmSettings(components=("accuracy", "style"))
    parts = {"accuracy": torch.zeros(2)}
    with pytest.raises(ContractError, match="needs values, baselines, score part 'style': not supplied"):
        needy.compute(given(settings=settings, parts=parts))


def test_responses_without_siblings_are_counted_and_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        output = find_advantage("grpo").compute(given(group=torch.tensor([4, 9])))
    assert output.metrics["groups/singleton"] == (2.0, 2.0)
    assert "2 prompts have one response" in caplog.text


def test_an_estimator_in_a_users_file_is_found_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    declared, plain = find_advantage(f"{file}:declared"), find_advantage(f"{file}:plain")
    x = given(settings=AlgorithmSettings(options={"scale": 10}))
    assert declared.needs is Needs.GROUP
    assert declared.compute(x).advantages.tolist() == [[10.0, 10.0], [20.0, 0.0]]
    assert (plain.needs, plain.compute(x).advantages.tolist()) == (Needs.NONE, [[1.0, 1.0], [2.0, 0.0]])
    with pytest.raises(ConfigError, match="is a int; a function is needed"):
        find_advantage(f"{file}:number")


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'grpo'"):
        find_advantage("gpro")


def test_a_name_is_given_once() -> None:
    assert ADVANTAGES["grpo"].name == "grpo"
    with pytest.raises(ConfigError, match="'grpo' is registered twice"):
        advantage("grpo")(lambda x: x)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    "wrong",
    [
        {"mask": torch.ones(2, 3, dtype=torch.bool)},
        {"mask": torch.ones(2, 2)},
        {"group": torch.zeros(3, dtype=torch.int64)},
        {"baselines": torch.zeros(2, 1)},
    ],
)
def test_shapes_are_checked_in_tests(wrong: dict[str, torch.Tensor]) -> None:
    with pytest.raises(TypeError):
        given(**wrong)


def test_a_memory_that_no_checkpoint_can_keep_is_refused() -> None:
    rows = torch.zeros(2, 2)
    for memory in ({"tensor": rows}, {"nan": float("nan")}):
        with pytest.raises(ContractError, match="'mine' returned a memory that is not JSON"):
            returning(AdvantageOutput(advantages=rows, returns=rows, memory=memory)).compute(given())


def test_what_an_estimator_remembers_is_what_it_will_read_after_a_resume() -> None:
    rows = torch.zeros(2, 2)
    output = returning(AdvantageOutput(advantages=rows, returns=rows, memory={"pair": (1, 2)})).compute(given())
    assert output.memory == {"pair": [1, 2]}


def test_tasks_are_asked_for() -> None:
    with pytest.raises(ContractError, match="'ema_grpo' needs tasks: not supplied"):
        find_advantage("ema_grpo").compute(given())


def test_a_singleton_that_keeps_its_score_is_said_to(caplog: pytest.LogCaptureFixture) -> None:
    settings = AlgorithmSettings(conventions=Conventions(singleton="score"))
    with caplog.at_level(logging.WARNING):
        output = find_advantage("dr_grpo").compute(given(group=torch.tensor([4, 9]), settings=settings))
    assert output.advantages.tolist() == [[1.0, 1.0], [2.0, 0.0]]
    assert "its advantage is its score" in caplog.text
