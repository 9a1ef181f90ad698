# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from verl.algorithms.contract import Denominators, LossInput, LossSettings, TokenLoss
from verl.algorithms.policy_loss import LOSSES, PolicyLoss, find_loss
from verl.errors import ConfigError, ContractError

MASK = torch.tensor([[True, True], [True, False]])


def given(**changes: object) -> LossInput:
    fields: dict[str, object] = {
        "logprobs": torch.full((2, 2), -1.0, requires_grad=True),
        "old_logprobs": torch.full((2, 2), -1.5),
        "advantages": torch.ones(2, 2),
        "mask": MASK,
        "denominators": Denominators.of(MASK),
    }
    return LossInput(**{**fields, **changes})  # type: ignore[arg-type]


CONSTANT = PolicyLoss(
    "constant", lambda x: TokenLoss(values=torch.full_like(x.logprobs, 6.0), metrics={"mine": (1.0, 2.0)})
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (LossSettings(), 6.0),
        (LossSettings(entropy_coef=0.5), 6.0 - 0.5 * 2.0),
        (LossSettings(use_kl_loss=True, kl_kind="mse", kl_coef=0.1), 6.0 + 0.1 * 0.5 * 9.0),
    ],
)
def test_the_loss_is_the_formula_plus_kl_minus_entropy(settings: LossSettings, expected: float) -> None:
    entropy, reference = torch.full((2, 2), 2.0), torch.full((2, 2), 2.0)
    x = given(settings=settings, entropy=entropy, ref_logprobs=reference)
    output = CONSTANT.compute(x)
    assert output.loss.item() == pytest.approx(expected)
    assert output.metrics["actor/entropy"] == (6.0, 3.0)
    assert output.metrics["actor/mine"] == (1.0, 2.0)
    assert ("actor/kl_loss" in output.metrics) == settings.use_kl_loss


def test_every_loss_reports_divergence_and_entropy_by_upstreams_names() -> None:
    metrics = CONSTANT.compute(given()).metrics
    assert metrics["actor/ppo_kl"] == (-1.5, 3.0)
    assert metrics["actor/entropy_loss"] == (3.0, 3.0)
    assert metrics["actor/pg_loss"] == (18.0, 3.0)


def test_the_entropy_bonus_reaches_the_entropy() -> None:
    entropy = torch.full((2, 2), 2.0, requires_grad=True)
    CONSTANT.compute(given(entropy=entropy, settings=LossSettings(entropy_coef=0.3))).loss.backward()
    assert entropy.grad is not None
    torch.testing.assert_close(entropy.grad, torch.where(MASK, -0.1, 0.0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (LossSettings(use_kl_loss=True), "reference policy"),
        (LossSettings(entropy_coef=0.1), "entropy of every token"),
    ],
)
def test_a_missing_input_is_named(settings: LossSettings, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        CONSTANT.compute(given(settings=settings))


def test_a_micro_batch_without_tokens_adds_zero_and_stays_in_the_graph() -> None:
    x = given(mask=torch.zeros(2, 2, dtype=torch.bool))
    output = find_loss("default").compute(x)
    output.loss.backward()
    assert output.loss.item() == 0.0
    assert x.logprobs.grad is not None and x.logprobs.grad.eq(0).all()


@pytest.mark.parametrize("output", [torch.zeros(2, 2), TokenLoss(values=torch.zeros(3, 2))])
def test_a_loss_that_breaks_its_promise_is_named(output: object) -> None:
    with pytest.raises(ContractError, match="loss 'mine' returned"):
        PolicyLoss("mine", lambda x: output).compute(given())  # type: ignore[arg-type, return-value]


def test_a_loss_in_a_users_file_sees_everything_and_may_have_its_own_settings(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from verl.algorithms.contract import TokenLoss\n"
        "def truncated(x):\n"
        "    weight = (x.old_logprobs - x.rollout_logprobs).exp().clamp(max=x.settings.options['cap'])\n"
        "    on_policy = ~x.off_policy[:, None]\n"
        "    return TokenLoss(values=-weight * on_policy * x.advantages * x.logprobs)\n"
    )
    x = given(
        rollout_logprobs=torch.full((2, 2), -5.0),
        off_policy=torch.tensor([False, True]),
        settings=LossSettings(options={"cap": 2.0}),
    )
    assert find_loss(f"{file}:truncated").compute(x).loss.item() == pytest.approx(2 * 2.0 / 3)


def test_upstreams_default_is_ppo() -> None:
    assert LOSSES["default"] is LOSSES["ppo"]
    with pytest.raises(ConfigError, match="unknown policy loss 'defualt'; did you mean 'default'"):
        find_loss("defualt")


def test_denominators_add_up_over_micro_batches() -> None:
    first, second = Denominators.of(MASK[:1]), Denominators.of(MASK[1:])
    assert first + second == Denominators.of(MASK) == Denominators(num_tokens=3.0, num_sequences=2.0)
    empty = Denominators.of(torch.zeros(1, 2, dtype=torch.bool))
    assert replace(first, num_tokens=0.0, num_sequences=0.0) == empty
