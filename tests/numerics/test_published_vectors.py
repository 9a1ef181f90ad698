# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers that public implementations gave, from tests/vectors. Where we differ by decision, the test says how."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.numerics.published import AVERAGES, Case, cases, denominators, each, loss_input
from verl.algorithms.aggregate import aggregate
from verl.algorithms.contract import Denominators, LossInput
from verl.algorithms.kl import AdaptiveKl, FixedKl, apply_kl_penalty, estimate_kl
from verl.algorithms.policy_loss import find_loss
from verl.config.checks import check
from verl.config.load import load
from verl.errors import ConfigError


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
        find_loss(case.params.get("loss_type", "default")).compute(replace(x, **part)).loss.backward()
    assert logprobs.grad is not None
    case.check("grad", logprobs.grad)


# Aggregation ----------------------------------------------------------------------------------------------

AGGREGATE = cases("aggregate", "agg_loss/")
MASKED_ROW = AGGREGATE.pop("agg_loss/seq_fully_masked_row/easyr1")
WITHOUT_COUNTS = AGGREGATE.pop("agg_loss/missing_global_dp2/verl")


def aggregated(case: Case) -> float:
    mask = case["loss_mask"]
    return aggregate(case["loss_mat"], mask, AVERAGES[case.params["agg"]], denominators(case, mask)).item()


@each(AGGREGATE)
def test_aggregation(case: Case) -> None:
    case.check("loss", aggregated(case), case.params.get("dp_size", 1))


def test_a_row_without_tokens_does_not_count_as_a_sequence_as_it_does_in_easyr1() -> None:
    mask = MASKED_ROW["loss_mask"]
    MASKED_ROW.check("loss", aggregated(MASKED_ROW), float(mask.any(-1).sum()) / len(mask))
    assert not mask.any(-1).all()


def test_a_loss_without_counts_cannot_be_asked_for_where_verl_raises() -> None:
    """Nothing falls back on the counts of one rank: whoever averages must bring those of the optimiser step."""
    assert WITHOUT_COUNTS.expected["raises"].startswith("ValueError: (global) batch_num_tokens is required")
    mask, values = WITHOUT_COUNTS["loss_mask"], WITHOUT_COUNTS["loss_mat"]
    streams: dict[str, Any] = {"logprobs": values, "old_logprobs": values, "advantages": values, "mask": mask}
    with pytest.raises(TypeError, match="denominators"):
        LossInput(**streams)
    with pytest.raises(TypeError, match="num_tokens"):
        Denominators(num_sequences=5.0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="denominators"):
        aggregate(values, mask, AVERAGES[WITHOUT_COUNTS.params["agg"]])  # type: ignore[call-arg]


# KL -------------------------------------------------------------------------------------------------------


@each(cases("kl", "kl/"))
def test_kl_estimators(case: Case) -> None:
    logprobs, ref = case["log_probs"].requires_grad_(), case["ref_log_probs"]
    kl = estimate_kl(logprobs, ref, case.params["kl_type"])
    if "importance_ratio" in case:
        kl = kl * case["importance_ratio"]
    kl.sum().backward()
    assert logprobs.grad is not None
    # Some implementations keep every estimate within 10, we only the exponential one.
    is_bounded = "clamp_out" in case.params and case.params["kl_type"] in ("k1", "k2")
    same = torch.where(kl.abs() < 10, True, not is_bounded)
    case.check("kl", kl.detach(), where=same)
    case.check("grad", logprobs.grad, where=same)


@each(cases("kl_full"))
def test_the_full_divergence_is_refused_by_a_message_that_names_what_there_is(case: Case) -> None:
    """It sums over the vocabulary. What we have of a token is one log-prob, and their sums over a row are no KL."""
    kind, streams = case.params["kl_type"], (case["log_probs"], case["ref_log_probs"])
    logprobs, ref = (values[..., 0] if values.dim() == 3 else values for values in streams)
    with pytest.raises(ConfigError, match=r"whole distribution.*use 'low_var_kl', 'kl', 'mse' or 'abs'"):
        estimate_kl(logprobs, ref, kind)
    alternatives = "kl or abs or mse or low_var_kl or k1 or k2 or k3"
    with pytest.raises(ConfigError, match=rf"algorithm\.kl_penalty=full: .* nobody keeps; set it to {alternatives}"):
        check(load([f"algorithm.kl_penalty={kind}"]))


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
    kl = {
        "kl_kind": "low_var_kl",
        "kl_coef": case.params["beta"],
        "kl_bias_correction": case.params.get("bias_corr", False),
    }
    settings = replace(x.settings, use_kl_loss=True, **kl)
    output = find_loss("default").compute(replace(x, ref_logprobs=case["ref_log_probs"], settings=settings))
    output.loss.backward()
    assert logprobs.grad is not None
    case.check("loss", output.loss.item())
    case.check("grad", logprobs.grad)
