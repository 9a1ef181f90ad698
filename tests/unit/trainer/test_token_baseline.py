# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What an estimator with `Needs.SUM_PI_SQUARED` is given, and that nobody else pays for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.trainer.test_loop import build, schedule
from verl.algorithms.advantage import Advantage, find_advantage
from verl.algorithms.contract import AdvantageInput, Needs
from verl.algorithms.correction import Bounds, Correction, Rejection
from verl.config.load import load
from verl.errors import ContractError
from verl.trainer.orders import algorithm_settings

NAMES = ["optimal_token_baseline", "tir_optimal_token_baseline"]
NEVER = Rejection(reach="token", kind="k1", bounds=Bounds(low=5.0, high=6.0))


def trainer_with(advantage, tmp_path, **changes):
    trainer, _, diary = build(tmp_path, schedule=schedule(total_steps=1))
    trainer.assembler = replace(trainer.assembler, advantage=advantage, **changes)
    return trainer, diary


def given_to(tmp_path, correction=None, gap=0.0):
    """What the estimator is handed in a step."""
    seen = []

    def remember(x):
        seen.append(x)
        return find_advantage(NAMES[0]).function(x)

    changes = {} if correction is None else {"correction": correction}
    trainer, _ = trainer_with(Advantage("spy", remember, Needs.GROUP | Needs.SUM_PI_SQUARED), tmp_path, **changes)
    trainer.policy.gap = gap
    trainer.fit()
    return seen[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_configured_run_trains_with_it_by_one_pass(tmp_path, name):
    config = load([f"algorithm.adv_estimator={name}", "worker.rollout.n=4"])
    settings = replace(algorithm_settings(config), components=())
    trainer, diary = trainer_with(find_advantage(config.algorithm.adv_estimator), tmp_path, settings=settings)
    trainer.fit()
    assert diary.count("logprobs_and_squares") == 1 and "logprobs" not in diary
    hands = [hand for step in trainer.policy.updates for hand in step.hands]
    rows = {(row.trajectory.group, row.trajectory.index): row for hand in hands for row in hand}
    assert len(rows) == 16
    energy = [1 - 2 * np.exp(-0.5) + squares for squares in (0.5, 0.4, 0.7, 0.6)]
    baseline = energy[0] / sum(energy)  # the first sibling has 1, the others 0; all have three tokens
    for (_, index), row in rows.items():
        np.testing.assert_allclose(row.advantages, np.full(3, float(index == 0) - baseline), atol=1e-6)


@pytest.mark.parametrize("name", ["grpo", "reinforce_plus_plus"])
def test_nobody_else_pays_for_the_squares(tmp_path, name):
    trainer, diary = trainer_with(find_advantage(name), tmp_path)
    trainer.fit()
    assert "logprobs" in diary and "logprobs_and_squares" not in diary


def test_without_a_correction_nothing_weighs(tmp_path):
    x = given_to(tmp_path, gap=0.25)
    assert x.importance_weights is None
    assert x.old_logprobs[x.mask].tolist() == pytest.approx([-0.25] * 48)
    assert set(x.sum_pi_squared[x.mask].tolist()) == set(np.float32([0.5, 0.4, 0.7, 0.6]).tolist())


@pytest.mark.parametrize("rejections", [(), (NEVER,)])
def test_importance_weights_are_those_before_anything_is_rejected(tmp_path, rejections):
    x = given_to(tmp_path, Correction(level="token", bounds=Bounds(high=1.25), rejections=rejections), gap=0.2)
    assert x.importance_weights[x.mask].tolist() == pytest.approx([np.exp(0.2)] * 48)
    cut = given_to(tmp_path / "cut", Correction(level="token", bounds=Bounds(high=1.25), rejections=rejections), 0.5)
    assert cut.importance_weights[cut.mask].tolist() == pytest.approx([1.25] * 48)


def test_rejections_alone_weigh_nothing(tmp_path):
    wide = replace(NEVER, bounds=Bounds(low=0.1, high=9.0))
    assert given_to(tmp_path, Correction(rejections=(wide,))).importance_weights is None


def test_without_the_squares_it_says_what_it_misses():
    x = AdvantageInput(
        rewards=torch.ones(2, 1), mask=torch.ones(2, 1, dtype=torch.bool), group=torch.zeros(2, dtype=torch.int64)
    )
    with pytest.raises(ContractError, match="needs old_logprobs, sum_pi_squared: not supplied"):
        find_advantage(NAMES[0]).compute(x)
