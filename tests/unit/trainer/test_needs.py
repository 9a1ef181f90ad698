# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What an estimator needs and the configuration cannot give is refused before a process starts."""

from pathlib import Path
from typing import Any

import pytest

from verl.algorithms.advantage import find_advantage
from verl.algorithms.contract import AlgorithmSettings, Conventions, Needs
from verl.algorithms.policy_loss import find_loss
from verl.config.load import load
from verl.errors import ConfigError
from verl.trainer.orders import algorithm_settings
from verl.trainer.wiring import _check_needs, prepare

RELATIVE = ("grpo", "dr_grpo", "grpo_passk", "rloo", "opo", "gpg", "gdpo", "ema_grpo")


def check(name: str, *changes: str) -> None:
    config = load([f"algorithm.adv_estimator={name}", "worker.rollout.n=4", *changes])
    _check_needs(find_advantage(name), config)


@pytest.mark.parametrize("name", [*RELATIVE, "optimal_token_baseline"])
def test_one_response_per_prompt_cannot_be_compared(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"worker\.rollout\.n=1.*{name}.*set it to 2 or more"):
        check(name, "worker.rollout.n=1", "algorithm.disable_kl=true")


def test_a_penalty_that_would_reach_nobody_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"gdpo.*algorithm\.use_kl_loss=true.*algorithm\.disable_kl=true"):
        check("gdpo")
    check("gdpo", "algorithm.disable_kl=true")
    check("gdpo", "algorithm.use_kl_loss=true")


def test_what_every_run_has_is_not_asked_for() -> None:
    assert Needs.TASK in find_advantage("ema_grpo").needs
    check("ema_grpo")
    check("reinforce_plus_plus", "worker.rollout.n=1")


def test_an_estimator_is_told_its_numbers() -> None:
    config = load(
        [
            "algorithm.norm_adv_by_std=false",
            "algorithm.gdpo_reward_keys=[a,b]",
            "algorithm.gdpo_reward_weights=[1,0.5]",
            "algorithm.gdpo_whitening=token",
            "algorithm.singleton_advantage=score",
            "algorithm.ema_decay=0.9",
            "algorithm.gamma=0.99",
            "algorithm.lam=0.95",
            "algorithm.adv_options.mine=3",
        ]
    )
    assert algorithm_settings(config) == AlgorithmSettings(
        gamma=0.99,
        lam=0.95,
        norm_by_std=False,
        components=("a", "b"),
        weights=(1.0, 0.5),
        whitening="token",
        ema_decay=0.9,
        conventions=Conventions(singleton="score"),
        options={"mine": 3},
    )


def test_numbers_that_an_estimator_does_not_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"adv_options \(mine\) are for an estimator of your own; grpo reads none"):
        check("grpo", "algorithm.adv_options.mine=3")
    (tmp_path / "own.py").write_text("def one(x): ...")
    check(f"{tmp_path}/own.py:one", "algorithm.adv_options.mine=3")


def test_the_name_that_verl_has_for_the_std_is_understood() -> None:
    assert load(["algorithm.norm_adv_by_std_in_grpo=false"]).algorithm.norm_adv_by_std is False
    both = load(["algorithm.norm_adv_by_std_in_grpo=false", "algorithm.norm_adv_by_std=true"])
    assert both.algorithm.norm_adv_by_std is True


def test_by_default_the_estimator_decides() -> None:
    assert algorithm_settings(load([])) == AlgorithmSettings()


def test_parts_that_are_not_named_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"gdpo_reward_keys is empty.*gdpo"):
        check("gdpo", "algorithm.disable_kl=true", "algorithm.gdpo_reward_keys=[]")
    check("grpo", "algorithm.gdpo_reward_keys=[]")


@pytest.mark.parametrize("value", [None, "much", True, float("nan")])
def test_a_loss_without_its_number_is_refused(value: object) -> None:
    options: dict[str, Any] = {} if value is None else {"dro_beta": value}
    with pytest.raises(ConfigError, match=r"worker\.actor\.loss_options\.dro_beta"):
        find_loss("dro").check(options)
    find_loss("dro").check({"dro_beta": 1})
    with pytest.raises(ConfigError, match=r"loss_options\.dro_beta is no number of 'default'.*known: none"):
        find_loss("ppo").check({"dro_beta": 1})


def test_wiring_asks_the_loss_before_it_reads_anything() -> None:
    config = load(["worker.actor.loss_type=dro", "worker.rollout.n=4", "trainer.device=cpu"])
    with pytest.raises(ConfigError, match="dro_beta: it is not set"):
        prepare(config)
