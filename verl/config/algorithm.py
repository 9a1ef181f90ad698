# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The algorithm section: from rewards to advantages, and the distance to the reference policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from verl.config.keys import key


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmConfig:
    """Advantages, KL and the choice of groups."""

    adv_estimator: str = key("grpo", "registered advantage estimator, or path/to/file.py:name")
    gamma: float = key(1.0, "discount per token, for estimators that discount")
    lam: float = key(1.0, "lambda of generalised advantage estimation")
    gdpo_reward_keys: tuple[str, ...] = key(("accuracy", "format"), "score parts that gdpo normalises each")
    disable_kl: bool = key(False, "train without a reference policy")
    use_kl_loss: bool = key(False, "true: KL is a term of the loss; false: KL is subtracted from the rewards")
    kl_penalty: Literal["kl", "abs", "mse", "low_var_kl", "full"] = key("kl", "estimator of the divergence")
    kl_coef: float = key(1e-3, "weight of the KL divergence")
    kl_type: Literal["fixed", "adaptive"] = key("fixed", "constant weight, or one steered towards kl_target")
    kl_horizon: float = key(10000.0, "responses over which the adaptive weight reacts")
    kl_target: float = key(0.1, "KL divergence that the adaptive weight aims at")
    online_filtering: bool = key(False, "replace groups whose mean score says nothing")
    filter_key: str = key("overall", "part of the score that the filter looks at")
    filter_low: float = key(0.01, "groups with a mean at or below this are dropped")
    filter_high: float = key(0.99, "groups with a mean at or above this are dropped")
