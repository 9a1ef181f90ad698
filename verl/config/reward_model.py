# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The worker.reward.model section: a trained classifier that scores responses beside the reward function."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from verl.config.keys import key
from verl.config.model import DtypeName


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardModelConfig:
    """A sequence classifier with one label, which reads question and response; and the video if it has eyes."""

    model_path: str | None = key(None, "folder or hub name of a reward model; null = none")
    tokenizer_path: str | None = key(None, "folder or hub name of its tokenizer; null = model_path")
    chat_template: str | None = key(None, "Jinja file in place of its tokenizer's chat template")
    trust_remote_code: bool = key(False, "run Python that comes with the model")
    weight: float = key(1.0, "its score, times this, is added to the reward; 0 = scored and logged only")
    normalisation: Literal["none", "sigmoid"] = key("none", "what is done to its score before the weight")
    dtype: DtypeName = key("bf16", "type of its weights; on a CPU fp32 is faster")
    max_token_len: int = key(16384, "most tokens in one forward pass; a longer row is masked and counted")
    max_batch_size: int = key(32, "most responses that a process is given at once")
    num_workers: int = key(1, "processes that hold the model")
    num_cpus: int = key(1, "CPU cores of each of them")
    placement: Literal["cpu", "policy_gpu", "own_gpu"] = key(
        "cpu", "compute on a CPU, on the policy's GPUs beside the engines, or on GPUs that the policy does not use"
    )
    gpu_share: float = key(1.0, "share of a GPU that each process claims with own_gpu")
    timeout_seconds: float = key(300.0, "seconds to wait for the scores of one batch; what is late is masked")


def reward_model_problems(model: RewardModelConfig, rule_weight: float, device: str) -> Iterator[str]:
    """What is wrong with the section, given `worker.reward.rule_weight` and `trainer.device`."""
    at = "worker.reward.model"
    if not 0 <= rule_weight < math.inf:
        yield f"worker.reward.rule_weight={rule_weight}: must not be negative"
    if model.model_path is None:
        if rule_weight != 1:
            yield f"worker.reward.rule_weight={rule_weight} weighs rules against a reward model: set {at}.model_path"
        return
    yield from _numbers(model, at)
    if rule_weight == 0 and model.weight == 0:
        yield f"worker.reward.rule_weight and {at}.weight are both 0: nothing would be rewarded"
    if model.placement != "cpu" and device == "cpu":
        yield f"{at}.placement={model.placement} with trainer.device=cpu: set it to cpu"
    if model.placement != "cpu" and model.dtype == "fp32":
        yield f"{at}.dtype=fp32: attention on a GPU computes in bf16 or fp16; set one of them"
    if model.chat_template is not None and not Path(model.chat_template).expanduser().is_file():
        yield f"{at}.chat_template={model.chat_template}: there is no such file"


def _numbers(model: RewardModelConfig, at: str) -> Iterator[str]:
    for name in ("max_token_len", "max_batch_size", "num_workers"):
        if (value := getattr(model, name)) < 1:
            yield f"{at}.{name}={value}: must be at least 1"
    if model.num_cpus < 0:
        yield f"{at}.num_cpus={model.num_cpus}: must not be negative"
    if not math.isfinite(model.weight):
        yield f"{at}.weight={model.weight}: must be a finite number"
    if not 0 < model.gpu_share <= 1:
        yield f"{at}.gpu_share={model.gpu_share}: must be above 0 and at most 1"
    if not 0 < model.timeout_seconds < math.inf:
        yield f"{at}.timeout_seconds={model.timeout_seconds}: must be above 0"
