# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The keys of the loss, from the command line to what the workers are told."""

import pytest

from verl.algorithms.contract import OffPolicySettings
from verl.algorithms.correction import Bounds, Correction, Rejection
from verl.config.checks import _advantage
from verl.config.load import load
from verl.config.losses import loss_problems
from verl.config.support import unsupported
from verl.errors import ConfigError
from verl.trainer.orders import correction, loss_settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["worker.actor.clip_ratio_low=0"], "clip_ratio_low=0.0: must be above 0 and at most 1"),
        (["worker.actor.clip_ratio_dual=1"], "clip_ratio_dual=1.0: must be above 1"),
        (["algorithm.kl_bias_correction=true"], "kl_bias_correction=true corrects the KL in the loss"),
        (["worker.actor.off_policy_loss=luffy"], "off_policy_loss=luffy is for responses from the data"),
        (["worker.rollout.top_p=0.9"], "the KL between such distributions is infinite"),
        (["worker.rollout.top_k=50"], "the KL between such distributions is infinite"),
    ],
)
def test_a_broken_rule_is_named(arguments: list[str], message: str) -> None:
    (found,) = loss_problems(load(arguments))
    assert message in found


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["worker.actor.clip_ratio_low=1"],
        ["algorithm.use_kl_loss=true", "algorithm.kl_type=adaptive", "algorithm.kl_bias_correction=true"],
        ["worker.rollout.top_p=0.9", "algorithm.disable_kl=true"],
        ["worker.rollout.enable_mix_policy=true", "worker.actor.off_policy_loss=luffy"],
    ],
)
def test_what_goes_together_breaks_no_rule(arguments: list[str]) -> None:
    assert list(loss_problems(load(arguments))) == []


def test_settings_reach_the_loss() -> None:
    settings = loss_settings(
        load(
            [
                "worker.actor.loss_avg_mode=seq-mean-token-sum-norm",
                "worker.actor.tau_positive=2",
                "worker.actor.entropy_coeff=0.01",
                "worker.actor.loss_options.dro_beta=0.5",
                "worker.actor.off_policy_loss=luffy",
                "worker.actor.off_policy_gamma=0.3",
                "algorithm.kl_penalty=k3+",
                "data.max_response_length=77",
            ]
        )
    )
    assert (settings.average, settings.response_length) == ("seq_norm", 77)
    assert (settings.tau_positive, settings.entropy_coef, settings.kl_kind) == (2.0, 0.01, "k3+")
    assert settings.options == {"dro_beta": 0.5}
    assert settings.off_policy == OffPolicySettings(loss="luffy", gamma=0.3)
    assert settings.clip_low is None


@pytest.mark.parametrize(
    ("written", "average"),
    [("token-mean", "token"), ("seq-mean-token-mean", "seq"), ("seq-mean-token-sum", "seq_sum"), ("seq", "seq")],
)
def test_verls_names_of_averages_are_understood(written: str, average: str) -> None:
    assert load([f"worker.actor.loss_avg_mode={written}"]).worker.actor.loss_avg_mode == average


def test_a_correction_is_read_and_is_off_by_default(tmp_path) -> None:
    assert correction(load([])) == Correction() and not Correction().is_active
    file = tmp_path / "run.yaml"
    file.write_text(
        "algorithm:\n  rollout_correction:\n    rollout_is: token\n    rollout_is_threshold: 3.0\n"
        "    rollout_rs: seq_mean_k1\n    rollout_rs_threshold: 0.9_1.5\n"
    )
    assert correction(load([f"config={file}"])) == Correction(
        level="token",
        bounds=Bounds(high=3.0),
        rejections=(Rejection(reach="seq_mean", kind="k1", bounds=Bounds(low=0.9, high=1.5)),),
    )
    with pytest.raises(ConfigError, match="is no bound"):
        correction(load(["algorithm.rollout_correction.rollout_is_threshold=high"]))


@pytest.mark.parametrize("name", ["k1", "k2", "k3", "kl", "abs", "mse", "low_var_kl"])
def test_every_estimator_has_a_straight_through_variant(name: str) -> None:
    config = load([f"algorithm.kl_penalty={name}+"])
    assert config.algorithm.kl_penalty == f"{name}+" and list(unsupported(config)) == []


def test_an_adaptive_weight_cannot_change_its_sign() -> None:
    keys = ["data.rollout_batch_size=64", "worker.rollout.n=8", "worker.actor.global_batch_size=64"]
    (found,) = _advantage(load([*keys, "algorithm.kl_type=adaptive", "algorithm.kl_horizon=102.4"]))
    assert "kl_horizon=102.4" in found and "must be above 102.4" in found
    assert list(_advantage(load([*keys, "algorithm.kl_type=adaptive", "algorithm.kl_horizon=103"]))) == []
    assert list(_advantage(load([*keys, "algorithm.kl_horizon=10"]))) == []
