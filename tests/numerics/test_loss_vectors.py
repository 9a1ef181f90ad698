# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Policy losses, value loss, correction and log-probs against numbers of public implementations, gradients included."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.numerics.published import AVERAGES, Case, cases, denominators, each, loss_input
from verl.algorithms.advantage import find_advantage
from verl.algorithms.aggregate import aggregate
from verl.algorithms.contract import AdvantageInput, LossInput, LossOutput, OffPolicySettings
from verl.algorithms.correction import Correction, accepted, log_rho, parse_bounds, parse_rejections, weights
from verl.algorithms.policy_loss import find_loss
from verl.algorithms.value_loss import ValueInput, value_loss
from verl.fsdp.forward import token_logprobs
from verl.fsdp.sampling import Sampling
from verl.rewards.penalties import OverlongPenalty


def graded(name: str, x: LossInput) -> tuple[LossOutput, Tensor]:
    """A loss and its gradient."""
    logprobs = x.logprobs.detach().clone().requires_grad_()
    output = find_loss(name).compute(replace(x, logprobs=logprobs))
    (grad,) = torch.autograd.grad(output.loss, logprobs)
    return output, grad


def check(case: Case, name: str, x: LossInput) -> None:
    output, grad = graded(name, x)
    case.check("loss", output.loss.item())
    case.check("grad", grad)


def metric(output: LossOutput, name: str) -> float:
    total, weight = output.metrics[f"actor/{name}"]
    return total / weight


# Policy losses --------------------------------------------------------------------------------------------


@each(cases("losses", "gspo/"))
def test_gspo(case: Case) -> None:
    """verl's `gspo` has the gradient of the token variant."""
    is_token = case.params.get("token_grad", True)
    check(case, "gspo_token" if is_token else "gspo", loss_input(case, case["log_probs"]))


@each(cases("losses", "cispo/"))
def test_cispo(case: Case) -> None:
    params = case.params
    high = params["clip_high_abs"] - 1 if "clip_high_abs" in params else params["clip_high"]
    low = None if case.paper or params["clip_low"] is None else params["clip_low"]
    x = loss_input(case, case["log_probs"], clip_high=high, clip_low=low)
    check(case, "cispo", x)
    if "clipfrac" in case.expected:
        case.check("clipfrac", metric(graded("cispo", x)[0], "pg_clipfrac_higher"))


@each(cases("losses", "sapo/"))
def test_sapo(case: Case) -> None:
    tau = {"tau_positive": case.params["tau_pos"], "tau_negative": case.params["tau_neg"]}
    check(case, "sapo", loss_input(case, case["log_probs"], **tau))


@each(cases("losses", "gmpo/"))
def test_gmpo_is_a_mean_over_sequences_whatever_the_average(case: Case) -> None:
    for average in ("token", "seq"):
        x = loss_input(case, case["log_probs"], average=average)
        check(case, "gmpo", x)


@each(cases("losses", "dppo_"))
def test_dppo(case: Case) -> None:
    check(case, case.params["loss_mode"], loss_input(case, case["log_probs"]))


@each(cases("losses", "gpg_loss/"))
def test_gpg(case: Case) -> None:
    check(case, "gpg", loss_input(case, case["log_probs"]))


@each(cases("losses", "dro/"))
def test_dro(case: Case) -> None:
    check(case, "dro", loss_input(case, case["log_probs"], options={"dro_beta": case.params["dro_beta"]}))


@each(cases("losses", "luspo/"))
def test_luspo_is_gspo_with_the_average_seq_sum(case: Case) -> None:
    check(case, "gspo", loss_input(case, case["log_probs"], average="seq_sum"))


@each(cases("losses", "vespo/"))
def test_vespo(case: Case) -> None:
    check(case, "vespo", loss_input(case, case["log_probs"]))


@each(cases("losses", "opsm/"))
def test_responses_that_grew_unlikely_are_left_out(case: Case) -> None:
    delta = case.params["off_policy_mask_threshold"]
    check(case, "default", loss_input(case, case["log_probs"], sequence_mask_delta=delta))


@each(cases("losses", "reinforce_loss/"))
def test_a_weighted_policy_gradient(case: Case) -> None:
    check(case, "gpg", loss_input(case, case["log_probs"]))


# Rows of another author -----------------------------------------------------------------------------------

SHAPES: dict[str, dict[str, Any]] = {
    "no_reshape": {"shaping": "none"},
    "logp": {"shaping": "logp"},
    "p_logp": {"shaping": "p_logp"},
    "pow": {"shaping": "power"},
    "p_div_p_0.1": {"shaping": "fraction", "gamma": 0.1},
    "p_div_p_0.5": {"shaping": "fraction", "gamma": 0.5},
}


@each(cases("off_policy", "luffy/loss"))
def test_luffy(case: Case) -> None:
    params = case.params
    shape = SHAPES[params["reshape"]] | {"max_ratio": params.get("off_max_clip")}
    gamma = params.get("weight", params.get("pow_exp"))
    shape |= {"gamma": gamma} if gamma is not None else {}
    clip = 1e9 if params.get("loss_remove_clip") else params["cliprange"]
    x = loss_input(
        case,
        case["log_probs"],
        clip_low=min(clip, 1.0),
        clip_high=clip,
        average="seq_norm" if params.get("loss_remove_token_mean") else "token",
        off_policy=OffPolicySettings(loss="importance" if "target_probs" in case else "luffy", **shape),
    )
    author = (case["target_probs"] + 1e-6).log() if "target_probs" in case else None  # their guard against zeros
    x = replace(x, off_policy=case["prefix_mask"].any(-1), rollout_logprobs=author)
    output, grad = graded("default", x)
    scale = len(x.mask) if x.settings.average == "seq_norm" else 1  # theirs adds rows up
    case.check("pg_loss", output.loss.item(), scale)
    case.check("grad", grad, scale)
    case.check("off_pg_loss", metric(output, "off_pg_loss"))
    case.check("on_pg_loss", metric(output, "on_pg_loss"))
    case.check("off_ratio_mean", metric(output, "off_pg_ratio"))


@each(cases("off_policy", "luffy/adv"))
def test_luffys_advantages_are_those_of_the_whole_group(case: Case) -> None:
    """The ablation that takes statistics from on-policy rows only is not here; the paper's are `paper`."""
    name = "grpo" if case.params["use_std"] else "dr_grpo"
    x = AdvantageInput(rewards=case["token_level_rewards"], mask=case["response_mask"], group=case["index"])
    case.check("advantages", find_advantage(name).compute(x).advantages)


# Value loss -----------------------------------------------------------------------------------------------


@each(cases("value_loss"))
def test_value_loss(case: Case) -> None:
    values, mask = case["vpreds"].requires_grad_(), case["response_mask"]
    x = ValueInput(
        values=values,
        old_values=case["values"],
        returns=case["returns"],
        mask=mask,
        denominators=denominators(case, mask),
        clip=case.params["cliprange"],
        average=AVERAGES[case.params["agg"]],
    )
    output = value_loss(x)
    (grad,) = torch.autograd.grad(output.loss, values)
    case.check("loss", output.loss.item())
    case.check("grad", grad)
    for theirs, ours in (("clipfrac", "vf_clipfrac"), ("vpred_mean", "vpred_mean")):
        if theirs in case.expected:
            total, weight = output.metrics[f"critic/{ours}"]
            case.check(theirs, total / weight)


# Correction -----------------------------------------------------------------------------------------------


def gap_of(case: Case) -> tuple[Tensor, Tensor]:
    mask = case["response_mask"]
    return log_rho(case["old_log_probs"], case["rollout_log_probs"], mask), mask


@each(cases("correction", "rollout_is/"))
def test_importance_weights(case: Case) -> None:
    bounds, cuts = parse_bounds(str(case.params["threshold"]))
    how = Correction(
        level=case.params["level"],
        bounds=bounds,
        cuts=cuts,
        normalize=case.params.get("batch_normalize", False),
    )
    gap, mask = gap_of(case)
    case.check("weights", weights(gap, mask, how), where=mask)


@each(cases("correction", "rollout_rs/"))
def test_rejection_bounds_the_ratio_itself(case: Case) -> None:
    """Where bounds are not symmetric, verl's hold the inverse; `paper` has what its documentation says."""
    rules = parse_rejections(case.params["options"], str(case.params["threshold"]))
    gap, mask = gap_of(case)
    case.check("mask", accepted(gap, mask, Correction(rejections=rules)).double())


@each(cases("correction", "rollout_is_loss/"))
def test_a_sequence_mask_with_token_weights(case: Case) -> None:
    low, high = case.params["is_threshold"]
    rules = parse_rejections("seq_mean_k1", f"{low}_{high}")
    how = Correction(level="token", bounds=parse_bounds("1e9")[0], rejections=rules)
    gap, mask = gap_of(case)
    check(case, "default", replace(loss_input(case, case["log_probs"]), weights=weights(gap, mask, how)))


@each(cases("losses", "bypass_mode/"))
def test_ratios_to_the_engine_itself(case: Case) -> None:
    """`old_log_probs` are the engine's here, and the correction is that of the current policy."""
    how = case.params["rollout_correction"]
    rules = parse_rejections(how.get("rollout_rs"), str(how.get("rollout_rs_threshold", "")))
    mask = case["response_mask"]
    kept = accepted(log_rho(case["log_probs"], case["old_log_probs"], mask), mask, Correction(rejections=rules))
    is_reinforce = how["loss_type"] == "reinforce"
    clips = {"clip_low": None, "clip_high": how["rollout_is_threshold"] - 1} if is_reinforce else {}
    x = loss_input(case, case["log_probs"], **clips)
    scale = float(mask.sum() / kept.sum())  # without global counts, verl divides by what is left
    output, grad = graded("cispo" if is_reinforce else "default", replace(x, weights=kept.double()))
    case.check("loss", output.loss.item(), scale)
    case.check("grad", grad, scale)


# Log-probabilities ----------------------------------------------------------------------------------------


@each(cases("logprobs", "logprob_entropy/"))
def test_logprobs_and_entropy_of_logits(case: Case) -> None:
    """The hidden states are the logits and the head is the identity. Gradients are of logits / temperature."""
    logits = case["logits"]
    flat = logits.reshape(-1, logits.shape[-1]).requires_grad_()
    head, sampling = torch.eye(flat.shape[-1], dtype=flat.dtype), Sampling(temperature=case.params["temperature"])
    labels = case["labels"].flatten()
    logprobs, entropy = token_logprobs(flat, head, labels, sampling, also="entropy")
    assert entropy is not None
    shape = case["labels"].shape
    float32 = {"rtol": 1e-4, "atol": 1e-5}
    for name, found in (("log_probs", logprobs), ("entropy", entropy)):
        if name in case.expected:
            expected = torch.tensor(case.expected[name])
            torch.testing.assert_close(found.detach().reshape(shape), expected.float(), **float32)
    for name, total in (
        ("grad_logits_of_weighted_logprob", (logprobs * case["logit_grad_w"].flatten()).sum()),
        ("grad_logits_of_entropy_sum", entropy.sum()),
    ):
        if name in case.expected:
            (grad,) = torch.autograd.grad(total, flat, retain_graph=True)
            expected = torch.tensor(case.expected[name]).reshape(grad.shape)
            torch.testing.assert_close((grad * sampling.temperature).float(), expected.float(), **float32)


@each(cases("logprobs", "entropy_loss/"))
def test_the_mean_entropy(case: Case) -> None:
    logits, mask = case["logits"], case["response_mask"]
    flat = logits.reshape(-1, logits.shape[-1])
    targets = torch.zeros(len(flat), dtype=torch.int64)
    _, entropy = token_logprobs(flat, torch.eye(flat.shape[-1], dtype=flat.dtype), targets, Sampling(), also="entropy")
    assert entropy is not None
    found = aggregate(entropy.reshape(mask.shape), mask, AVERAGES[case.params["agg"]], denominators(case, mask))
    assert found.item() == pytest.approx(case.expected["loss"], rel=1e-5)


# Overlong responses ---------------------------------------------------------------------------------------


@each(cases("overlong"))
def test_soft_overlong_penalty(case: Case) -> None:
    params = case.params
    penalty = OverlongPenalty(max_length=params["max_len"], buffer=params["buffer"], weight=params["factor"])
    case.check("penalty", torch.tensor([penalty.of(int(length)) for length in case["lengths"]]))
