# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from verl.algorithms.kl import AdaptiveKl, FixedKl, estimate_kl
from verl.errors import ConfigError

ZERO = torch.zeros(1, 1)


def test_full_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="whole distribution"):
        estimate_kl(ZERO, ZERO, "full")


def test_an_unknown_estimator_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown KL estimator 'low_var'; did you mean 'low_var_kl'"):
        estimate_kl(ZERO, ZERO, "low_var")


@pytest.mark.parametrize(("target", "horizon"), [(0.0, 10.0), (0.1, 0.0)])
def test_an_adaptive_coefficient_needs_a_target_and_a_horizon(target: float, horizon: float) -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        AdaptiveKl("kl", 0.1, target=target, horizon=horizon)


def test_a_fixed_coefficient_ignores_what_it_sees_and_what_a_checkpoint_says() -> None:
    controller = FixedKl("kl", 0.1)
    controller.update(100.0, 512)
    controller.restore({"coef": 7.0})
    assert (controller.coef, controller.state()) == (0.1, {})


def test_an_adaptive_coefficient_starts_as_configured_after_a_run_with_a_fixed_one() -> None:
    controller = AdaptiveKl("kl", 0.1, target=0.1, horizon=10)
    controller.restore(FixedKl("kl", 0.5).state())
    assert controller.coef == 0.1
