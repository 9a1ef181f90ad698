# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The algorithm section: from rewards to advantages, and the distance to the reference policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from verl.config.keys import free, key, section


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutCorrectionConfig:
    """What makes up for trainer and engine not agreeing on the probability of a sampled token; rho is their ratio."""

    rollout_is: Literal["token", "sequence"] | None = key(
        None, "multiply the loss by rho of each token, or of the whole response; null = do not"
    )
    rollout_is_threshold: str = key(
        "2.0", "rho is cut down to this; with two numbers, as 0.5_5.0, it counts as 0 outside (IcePop)"
    )
    rollout_is_batch_normalize: bool = key(False, "divide the weights by their mean over the step")
    rollout_rs: str | None = key(
        None, "rules that tokens or responses must pass to count: token_k1, seq_mean_k3 ..., with commas between"
    )
    rollout_rs_threshold: str | None = key(
        None, "a bound for each rule: of k1 for rho (0.5_2.0; one number bounds both sides), else from above"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmConfig:
    """Advantages, KL and the choice of groups."""

    adv_estimator: str = key("grpo", "registered advantage estimator, or path/to/file.py:name")
    gamma: float = key(1.0, "discount per token, for estimators that discount")
    lam: float = key(1.0, "lambda of generalised advantage estimation")
    norm_adv_by_std: bool | None = key(
        None,
        "grpo, dr_grpo, grpo_passk, gdpo: measure siblings in standard deviations; null: as the estimator's paper does,"
        " so grpo and gdpo do",
    )
    singleton_advantage: Literal["zero", "score"] = key(
        "zero", "advantage of a response without siblings: 0, or as if the others' mean were 0, which verl does"
    )
    gdpo_reward_keys: tuple[str, ...] = key(("accuracy", "format"), "score parts that gdpo normalises each")
    gdpo_reward_weights: tuple[float, ...] = key((), "weight of each of gdpo_reward_keys; empty: all 1")
    gdpo_whitening: Literal["sample", "token"] = key(
        "sample", "whether gdpo's last normalisation counts a response once, or once per token as verl does"
    )
    ema_decay: float = key(0.99, "share of a task's running score moments that ema_grpo keeps from step to step")
    adv_options: dict[str, Any] = free("what an estimator of your own finds in x.settings.options")
    disable_kl: bool = key(False, "train without a reference policy")
    use_kl_loss: bool = key(False, "true: KL is a term of the loss; false: KL is subtracted from the rewards")
    kl_penalty: Literal[
        "kl",
        "abs",
        "mse",
        "low_var_kl",
        "k1",
        "k2",
        "k3",
        "kl+",
        "abs+",
        "mse+",
        "low_var_kl+",
        "k1+",
        "k2+",
        "k3+",
        "full",
    ] = key("kl", "estimator of the divergence (k1 = kl, k2 = mse, k3 = low_var_kl); with a + the gradient is k2's")
    kl_bias_correction: bool = key(False, "multiply the KL in the loss by the policy's ratio, so it stays unbiased")
    kl_coef: float = key(1e-3, "weight of the KL divergence")
    kl_type: Literal["fixed", "adaptive"] = key("fixed", "constant weight, or one steered towards kl_target")
    kl_horizon: float = key(10000.0, "responses over which the adaptive weight reacts")
    kl_target: float = key(0.1, "KL divergence that the adaptive weight aims at")
    rollout_correction: RolloutCorrectionConfig = section(RolloutCorrectionConfig)
    online_filtering: bool = key(False, "replace groups of responses from which nothing can be learned")
    filter_mode: Literal["variance", "band"] = key(
        "variance", "keep groups whose responses differ in filter_key; or, as upstream does, by the mean of it"
    )
    filter_key: str = key("overall", "part of the score that the filter looks at; for gdpo it is gdpo_reward_keys")
    filter_low: float = key(0.01, "filter_mode=band: groups with a mean at or below this are dropped")
    filter_high: float = key(0.99, "filter_mode=band: groups with a mean at or above this are dropped")
    mask_truncated: bool = key(
        False, "leave responses that were cut off out of the loss; among their siblings they count all the same"
    )
