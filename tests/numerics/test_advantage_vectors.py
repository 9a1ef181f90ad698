# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Advantages that public implementations gave, from tests/vectors, under the conventions of each of them.

A case may carry "paper": the numbers of the formula as published, where the implementation has others or raises.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from verl.algorithms import masked
from verl.algorithms.advantage import ADVANTAGES, find_advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, AlgorithmSettings, Conventions

VECTORS = Path(__file__).parents[1] / "vectors"


class Case:
    """A published case."""

    def __init__(self, name: str, raw: dict[str, Any]) -> None:
        self.estimator = name.split("/")[0]
        self.params: dict[str, Any] = raw["params"]
        self.expected: dict[str, Any] = raw["expected"]
        self.paper: dict[str, Any] | None = raw.get("paper")
        self.inputs: dict[str, Any] = raw["inputs"]
        self.only_inside = raw.get("compare") == "masked"
        self.tolerance: dict[str, float] = raw["tolerance"]
        self.dtype = getattr(torch, raw["dtype"])

    def tensor(self, name: str) -> Tensor | None:
        if name not in self.inputs:
            return None
        rows = [row if isinstance(row, list) else [row] for row in self.inputs[name]]  # nan is spelt out
        numbers = torch.tensor([[float(value) for value in row] for row in rows], dtype=self.dtype)
        return numbers if isinstance(self.inputs[name][0], list) else numbers[:, 0]

    def given(self, **changes: Any) -> AdvantageInput:
        mask = torch.tensor(self.inputs["response_mask"]).bool()
        rewards = self.tensor("token_level_rewards")
        names = self.params.get("reward_keys", ())
        fields: dict[str, Any] = {
            "rewards": torch.zeros(mask.shape, dtype=self.dtype) if rewards is None else rewards,
            "mask": mask,
            "group": torch.tensor(self.inputs.get("index", [0] * len(mask))),
            "values": self.tensor("values"),
            "baselines": self.tensor("reward_baselines"),
            "parts": {name: self.tensor(f"rewards_{name}") for name in names},
            "old_logprobs": self.tensor("old_log_probs"),
            "sum_pi_squared": self.tensor("sum_pi_squared"),
            "importance_weights": self.tensor("rollout_is_weights"),
            "settings": self.settings(),
        }
        return AdvantageInput(**(fields | changes))

    def settings(self, **conventions: Any) -> AlgorithmSettings:
        params = self.params
        by_std = {"norm_by_std": True} if self.estimator == "grpo_passk" and "eps" in params else {}
        return AlgorithmSettings(
            gamma=params.get("gamma", 1.0),
            lam=params.get("lam", 1.0),
            norm_by_std=params.get("norm_by_std", by_std.get("norm_by_std")),
            components=tuple(params.get("reward_keys", ())),
            weights=tuple(params.get("weights", ())),
            whitening=params.get("whiten", "token") if self.estimator == "gdpo" else "sample",
            conventions=Conventions(
                singleton=conventions.get("singleton", "score" if params.get("single", "raw") == "raw" else "zero"),
                eps=params.get("eps", 1e-6),
                whitens=params.get("whiten") is not False,
                whiten_ddof=params.get("ddof", 1),
                whiten_eps=params.get("weps", 1e-8),
                weight_eps=1e-8,
            ),
        )

    def check(self, output: AdvantageOutput, expected: dict[str, Any], **tolerance: float) -> None:
        mask = torch.tensor(self.inputs["response_mask"]).bool()
        for name, numbers in expected.items():
            theirs = torch.tensor(numbers, dtype=torch.float64)
            theirs = masked.zero_outside(theirs, mask) if self.only_inside else theirs
            torch.testing.assert_close(getattr(output, name).double(), theirs, **(self.tolerance | tolerance))


def cases(file: str) -> dict[str, Case]:
    raw = json.loads((VECTORS / f"algorithms_{file}.json").read_text())
    return {name: Case(name, case) for name, case in raw.items()}


def each(found: dict[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", found.values(), ids=found.keys())


def some(found: dict[str, Case], *words: str) -> dict[str, Case]:
    return {name: case for name, case in found.items() if any(word in name for word in words)}


EMA = some(ALL := cases("grpo") | cases("advantages"), "ema_grpo/")
OUTSIDE = some(ALL, "rewards_outside_mask")
LEAVE_ONE_OUT = some(ALL, "nemo_loo")
OFF_PAPER = {name: case for name, case in ALL.items() if case.paper is not None}
RAISING = {name: case for name, case in ALL.items() if "raises" in case.expected}
ALONE = {name: case for name, case in some(ALL, "group_size_1").items() if name not in RAISING}
WRONG = some(ALL, "remax/bs_equals_T/easyr1", "reinforce_plus_plus/observation_spans") | LEAVE_ONE_OUT
WRONG = {name: case for name, case in WRONG.items() if case.paper is not None}
AGREED = {name: case for name, case in ALL.items() if name not in EMA | OUTSIDE | RAISING | WRONG}


def compute(case: Case, **changes: Any) -> AdvantageOutput:
    return find_advantage(case.estimator).compute(case.given(**changes))


@each(AGREED)
def test_advantages_under_the_conventions_of_the_source(case: Case) -> None:
    output = compute(case)
    if case.params.get("estimator") == "reinforce_baseline":  # OpenRLHF returns what it has before the whitening
        before = case.settings()
        before = replace(before, conventions=replace(before.conventions, whitens=False))
        output = replace(output, returns=compute(case, settings=before).returns)
    case.check(output, case.expected)


@each(OFF_PAPER)
def test_advantages_as_published(case: Case) -> None:
    """Observation spans carry later rewards, ReMax broadcasts over tokens, gdpo counts responses, GAE runs."""
    settings = replace(case.settings(), whitening="sample", conventions=Conventions())
    assert case.paper is not None
    case.check(compute(case, settings=settings), case.paper)


@each(WRONG)
def test_where_the_source_is_not_what_was_published_we_differ_from_it(case: Case) -> None:
    theirs = masked.zero_outside(torch.tensor(case.expected["advantages"]), case.given().mask)
    assert not torch.allclose(compute(case).advantages.double(), theirs.double(), atol=1e-2)


@each(ALONE)
def test_by_default_a_response_without_siblings_has_no_advantage(case: Case) -> None:
    """verl's own vectorised RLOO agrees; its other estimators train on the raw score."""
    x = case.given(settings=case.settings(singleton="zero"))
    alone = x.siblings(x.scores).size == 1
    found = find_advantage(case.estimator).compute(x)
    if case.estimator in ("grpo", "rloo", "opo"):  # nothing is shared with other groups
        theirs = torch.tensor(case.expected["advantages"], dtype=torch.float64)
        torch.testing.assert_close(found.advantages[~alone].double(), theirs[~alone], **case.tolerance)
        assert found.advantages[alone].eq(0).all()
    assert found.metrics["groups/singleton"] == (1.0, 3.0)


@each({name: case for name, case in RAISING.items() if case.paper is None})
def test_easyr1_stops_at_a_response_without_siblings_and_we_count_it(case: Case) -> None:
    found = compute(case, settings=AlgorithmSettings())
    assert found.metrics["groups/singleton"] == (1.0, 3.0)
    assert found.advantages[3].eq(0).all()


@each(OUTSIDE)
def test_rewards_outside_the_mask_that_verl_counts_are_not_read(case: Case) -> None:
    x = case.given()
    clean = compute(case, rewards=masked.zero_outside(x.rewards, x.mask)).advantages
    assert torch.equal(compute(case).advantages, clean)
    assert not torch.allclose(clean, torch.tensor(case.expected["advantages"], dtype=torch.float64), atol=1e-3)


@each(some(ALL, "optimal_token_baseline/tir_no_is/verl"))
def test_the_name_for_several_turns_is_the_same_estimator(case: Case) -> None:
    """Each response here is of one turn, for which verl's two functions agree."""
    assert case.params["estimator"] == "tir_optimal_token_baseline"
    assert find_advantage(case.params["estimator"]) is find_advantage(case.estimator)


@each(some(ALL, "optimal_token_baseline/"))
def test_the_token_baseline_is_published_without_an_epsilon(case: Case) -> None:
    theirs, ours = compute(case).advantages, compute(case, settings=AlgorithmSettings()).advantages
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)
    assert not torch.equal(ours, theirs)


@each(some(ALL, "optimal_token_baseline/"))
def test_the_token_baseline_does_not_read_what_stands_outside_the_mask(case: Case) -> None:
    x = case.given()
    assert x.old_logprobs is not None and x.sum_pi_squared is not None
    blind = {name: getattr(x, name).masked_fill(~x.mask, torch.nan) for name in ("old_logprobs", "sum_pi_squared")}
    assert torch.equal(compute(case, **blind).advantages, compute(case).advantages)


@each(EMA)
def test_ema_grpo_over_several_batches(case: Case) -> None:
    memory: Any = {}
    for number, batch in enumerate(case.params["batches"]):
        rewards = torch.tensor(batch["scores"], dtype=torch.float64)[:, None]
        output = find_advantage("ema_grpo").compute(
            AdvantageInput(
                rewards=rewards,
                mask=torch.ones_like(rewards, dtype=torch.bool),
                group=torch.tensor(batch["group"]),
                tasks=tuple(batch["task"]),
                memory=memory,
                settings=AlgorithmSettings(ema_decay=case.params["decay"]),
            )
        )
        memory = output.memory
        theirs = torch.tensor(case.expected[f"advantages_{number}"], dtype=torch.float64)
        torch.testing.assert_close(output.advantages[:, 0], theirs, **case.tolerance)


def test_the_names_of_upstream_and_of_verl_are_known() -> None:
    upstream = ("grpo", "grpo_passk", "gae", "rloo", "remax", "reinforce_plus_plus", "gdpo")
    verl = ("reinforce_plus_plus_baseline", "rloo_vectorized", "grpo_vectorized", "opo", "gpg")
    verl += ("optimal_token_baseline", "tir_optimal_token_baseline")
    assert {*upstream, *verl, "dr_grpo", "ema_grpo"} <= {*ADVANTAGES}


# Masked statistics ----------------------------------------------------------------------------------------

STATISTICS = cases("masked")


def statistics(case: Case) -> dict[str, Tensor]:
    values, mask = case.tensor("values"), torch.tensor(case.inputs["mask"]).bool()
    assert values is not None
    return {
        "masked_sum": masked.zero_outside(values, mask).sum(),
        "masked_mean": masked.mean(values, mask),
        "masked_mean_rows": masked.row_means(values, mask),
        "masked_var_unbiased": masked.variance(values, mask),
        "masked_var_biased": masked.variance(values, mask, ddof=0),
        "masked_whiten": masked.whiten(values, mask),
        "masked_whiten_noshift": masked.whiten(values, mask) + masked.mean(values, mask),
    }


@each(STATISTICS)
def test_masked_statistics(case: Case) -> None:
    """One entry has variance 0, where verl raises; nan outside the mask stays there, where it spoils EasyR1's."""
    mask = torch.tensor(case.inputs["mask"]).bool()
    for name, found in statistics(case).items():
        assert found.isfinite().all()
        theirs = case.expected.get(name, "nan")
        if not isinstance(theirs, str) and "nan" not in str(theirs):
            expected = torch.tensor(theirs, dtype=torch.float64)
            if found.shape == mask.shape:
                found, expected = masked.zero_outside(found, mask), masked.zero_outside(expected, mask)
            torch.testing.assert_close(found.double(), expected, **case.tolerance)
