# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers that public implementations gave, from tests/vectors. Where we differ by decision, the test says how."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from verl.algorithms.advantage import find_advantage
from verl.algorithms.aggregate import aggregate
from verl.algorithms.contract import AdvantageInput, Denominators, LossInput, LossSettings
from verl.algorithms.kl import AdaptiveKl, FixedKl, apply_kl_penalty, estimate_kl
from verl.algorithms.policy_loss import find_loss

VECTORS = Path(__file__).parents[1] / "vectors"
AVERAGES = {"token-mean": "token", "seq-mean-token-mean": "seq", "seq-mean-token-mean-all": "seq"}


class Case:
    """A published case: inputs as tensors of its dtype, parameters, expected numbers."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.params: dict[str, Any] = raw["params"]
        self.expected: dict[str, Any] = raw["expected"]
        self._inputs = raw["inputs"]
        self._dtype = getattr(torch, raw["dtype"])
        self._tolerance = raw["tolerance"]

    def __getitem__(self, name: str) -> Tensor:
        values = self._inputs[name]
        if name == "index":
            return torch.tensor(values)
        rows = [row if isinstance(row, list) else [row] * self["response_mask"].shape[1] for row in values]
        floats = torch.tensor([[float(v) for v in row] for row in rows], dtype=self._dtype)
        return floats.bool() if name.endswith("mask") else floats

    def check(self, name: str, found: Tensor | float, scale: float = 1.0) -> None:
        expected = torch.tensor(self.expected[name], dtype=torch.float64)
        found = torch.as_tensor(found, dtype=torch.float64) * scale
        torch.testing.assert_close(found, expected, **self._tolerance)


def cases(file: str, prefix: str = "") -> dict[str, Case]:
    raw = json.loads((VECTORS / f"algorithms_{file}.json").read_text())
    return {name: Case(case) for name, case in raw.items() if name.startswith(prefix)}


def each(found: dict[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", found.values(), ids=found.keys())


# GRPO -----------------------------------------------------------------------------------------------------

GRPO = cases("grpo")
SINGLETON = GRPO.pop("grpo/group_size_1/verl_vectorized")
OUTSIDE = GRPO.pop("grpo/rewards_outside_mask/verl")


def grpo(case: Case) -> Tensor:
    x = AdvantageInput(rewards=case["token_level_rewards"], mask=case["response_mask"], group=case["index"])
    return find_advantage("grpo").compute(x).advantages


@each(GRPO)
def test_grpo(case: Case) -> None:
    case.check("advantages", grpo(case))


def test_grpo_gives_zero_where_verl_gives_the_raw_score_of_a_singleton() -> None:
    found, expected = grpo(SINGLETON), torch.tensor(SINGLETON.expected["advantages"])
    has_siblings = torch.tensor([bool((SINGLETON["index"] == g).sum() > 1) for g in SINGLETON["index"]])
    torch.testing.assert_close(found[has_siblings], expected[has_siblings], rtol=1e-4, atol=1e-5)
    assert found[~has_siblings].eq(0).all()
    assert expected[~has_siblings].ne(0).any()


def test_grpo_ignores_the_rewards_outside_the_mask_that_verl_counts() -> None:
    expected = torch.tensor(OUTSIDE.expected["advantages"], dtype=torch.float64)
    assert not torch.allclose(grpo(OUTSIDE), expected, atol=1e-3)


# PPO ------------------------------------------------------------------------------------------------------


def loss_input(case: Case, logprobs: Tensor) -> LossInput:
    mask, params = case["response_mask"], case.params
    local = Denominators.of(mask)
    return LossInput(
        logprobs=logprobs,
        old_logprobs=case["old_log_probs"],
        advantages=case["advantages"],
        mask=mask,
        denominators=Denominators(
            num_tokens=params.get("batch_num_tokens") or local.num_tokens,
            num_sequences=params.get("global_batch_size") or local.num_sequences,
        ),
        settings=LossSettings(
            clip_low=params["clip_low"],
            clip_high=params["clip_high"],
            clip_dual=params.get("clip_dual") or 1e9,
            average=AVERAGES[params["agg"]],  # type: ignore[arg-type]
        ),
    )


@each(cases("ppo"))
def test_ppo(case: Case) -> None:
    logprobs = case["log_probs"].requires_grad_()
    output = find_loss("default").compute(loss_input(case, logprobs))
    output.loss.backward()
    assert logprobs.grad is not None
    scale = case.params.get("dp_size", 1)  # theirs is averaged over ranks afterwards, ours is summed
    case.check("loss", output.loss.item(), scale)
    case.check("grad", logprobs.grad, scale)
    metrics = {name: total / weight for name, (total, weight) in output.metrics.items()}
    for theirs, ours in (("clipfrac", "pg_clipfrac_higher"), ("clipfrac_lower", "pg_clipfrac_lower")):
        if theirs in case.expected:
            case.check(theirs, metrics[f"actor/{ours}"])
    if "entropy_loss" in case.expected:
        case.check("entropy_loss", metrics["actor/entropy_loss"])
    if "ppo_kl" in case.expected and (case["log_probs"] - case["old_log_probs"]).abs().max() < 20:
        case.check("ppo_kl", metrics["actor/ppo_kl"])  # verl clamps the metric, EasyR1 and we do not


@each(cases("aggregate", "micro_batch_invariance/"))
def test_the_gradient_of_a_split_batch(case: Case) -> None:
    """For "seq" the expected numbers are those of the whole batch: EasyR1's own change with the split."""
    logprobs = case["log_probs"].requires_grad_()
    x = loss_input(case, logprobs)
    for rows in torch.arange(len(x.mask)).split(case.params["micro_batch"]):
        part = {n: getattr(x, n)[rows] for n in ("logprobs", "old_logprobs", "advantages", "mask")}
        find_loss("default").compute(replace(x, **part)).loss.backward()
    assert logprobs.grad is not None
    case.check("grad", logprobs.grad)


# Aggregation ----------------------------------------------------------------------------------------------

AGGREGATE = cases("aggregate", "agg_loss/")
MASKED_ROW = AGGREGATE.pop("agg_loss/seq_fully_masked_row/easyr1")


def aggregated(case: Case) -> float:
    local = Denominators.of(case["loss_mask"])
    denominators = Denominators(
        num_tokens=case.params.get("batch_num_tokens") or local.num_tokens,
        num_sequences=case.params.get("global_batch_size") or local.num_sequences,
    )
    average = AVERAGES[case.params["agg"]]
    return aggregate(case["loss_mat"], case["loss_mask"], average, denominators).item()  # type: ignore[arg-type]


@each(AGGREGATE)
def test_aggregation(case: Case) -> None:
    case.check("loss", aggregated(case), case.params.get("dp_size", 1))


def test_a_row_without_tokens_does_not_count_as_a_sequence_as_it_does_in_easyr1() -> None:
    mask = MASKED_ROW["loss_mask"]
    MASKED_ROW.check("loss", aggregated(MASKED_ROW), float(mask.any(-1).sum()) / len(mask))
    assert not mask.any(-1).all()


# KL -------------------------------------------------------------------------------------------------------


@each(cases("kl", "kl/"))
def test_kl_estimators(case: Case) -> None:
    logprobs = case["log_probs"].requires_grad_()
    kl = estimate_kl(logprobs, case["ref_log_probs"], case.params["kl_type"])
    kl.sum().backward()
    assert logprobs.grad is not None
    case.check("kl", kl.detach())
    case.check("grad", logprobs.grad)


@each(cases("kl", "kl_in_reward/"))
def test_kl_in_the_reward(case: Case) -> None:
    params, mask = case.params, case["response_mask"]
    fixed = FixedKl(params["kl_type"], params["init"])
    adaptive = AdaptiveKl(params["kl_type"], params["init"], target=params["target"], horizon=params["horizon"])
    controller = fixed if params["type"] == "fixed" else adaptive
    penalised = apply_kl_penalty(
        case["token_level_scores"], case["old_log_probs"], case["ref_log_probs"], mask, controller
    )
    expected = torch.tensor(case.expected["token_level_rewards"], dtype=torch.float64)
    torch.testing.assert_close(penalised.rewards.double()[mask], expected[mask], rtol=2e-5, atol=1e-6)
    total, weight = penalised.metrics["actor/kl_penalty"]
    case.check("current_kl", total / weight)
    case.check("kl_coef_used", penalised.metrics["actor/kl_coef"][0])
    case.check("kl_coef_after", controller.coef)


@each(cases("kl", "adaptive_kl/"))
def test_the_adaptive_coefficient(case: Case) -> None:
    params = case.params
    controller = AdaptiveKl("kl", params["init"], target=params["target"], horizon=params["horizon"])
    trajectory = []
    for kl in params["kls"]:
        controller.update(kl, params["n_steps"])
        trajectory.append(controller.coef)
    case.check("trajectory", torch.tensor(trajectory, dtype=torch.float64))


@each(cases("kl", "kl_in_loss/"))
def test_kl_in_the_loss(case: Case) -> None:
    logprobs = case["log_probs"].requires_grad_()
    x = loss_input(case, logprobs)
    settings = replace(x.settings, use_kl_loss=True, kl_kind="low_var_kl", kl_coef=case.params["beta"])
    output = find_loss("default").compute(replace(x, ref_logprobs=case["ref_log_probs"], settings=settings))
    output.loss.backward()
    assert logprobs.grad is not None
    case.check("loss", output.loss.item())
    case.check("grad", logprobs.grad)
