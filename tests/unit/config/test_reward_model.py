# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The worker.reward.model section, and the folder it names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.reward_models import tiny_reward_model
from tests.world import tiny_model
from verl.config.reward_model import RewardModelConfig, reward_model_problems
from verl.errors import ConfigError
from verl.trainer.reward_models import reward_model_adapter, reward_model_order

GOOD = RewardModelConfig(model_path="org/scorer")


def problems(rule_weight=1.0, device="auto", **changes):
    return list(reward_model_problems(replace(GOOD, **changes), rule_weight, device))


def test_defaults_are_fine_with_and_without_a_model():
    assert problems() == [] and problems(model_path=None) == []
    assert problems(rule_weight=0.0) == [] and problems(weight=-0.5) == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"rule_weight": -1.0}, "rule_weight=-1.0: must not be negative"),
        ({"rule_weight": 0.5, "model_path": None}, "set worker.reward.model.model_path"),
        ({"rule_weight": 0.0, "weight": 0.0}, "nothing would be rewarded"),
        ({"weight": float("nan")}, "must be a finite number"),
        ({"placement": "policy_gpu", "device": "cpu"}, "placement=policy_gpu with trainer.device=cpu"),
        ({"placement": "own_gpu", "dtype": "fp32"}, "bf16 or fp16"),
        ({"gpu_share": 1.5}, "gpu_share=1.5"),
        ({"max_token_len": 0}, "max_token_len=0"),
        ({"max_batch_size": 0}, "max_batch_size=0"),
        ({"num_workers": 0}, "num_workers=0"),
        ({"num_cpus": -1}, "num_cpus=-1"),
        ({"timeout_seconds": 0.0}, "timeout_seconds=0.0"),
        ({"chat_template": "no/such/file.jinja"}, "there is no such file"),
    ],
)
def test_what_cannot_be_is_refused(changes, complaint):
    found = problems(**changes)
    assert len(found) == 1 and complaint in found[0]


def test_a_folder_that_is_no_reward_model_is_refused_before_anything_starts(tmp_path):
    bare = RewardModelConfig(model_path=str(tiny_model(tmp_path / "bare", "qwen3")))
    with pytest.raises(ConfigError, match=r"^worker\.reward\.model: .*lacks score\.weight"):
        reward_model_adapter(bare)
    with pytest.raises(ConfigError, match=r"worker\.reward\.model\.model_path=gone is neither a folder"):
        reward_model_order(replace(bare, model_path="gone"))
    assert reward_model_adapter(RewardModelConfig()) is None


def test_its_own_chat_template_can_be_replaced(tmp_path):
    (tmp_path / "chat.jinja").write_text("{{ messages[0].content }} -> {{ messages[1].content }}")
    folder = str(tiny_reward_model(tmp_path / "scorer"))
    adapter = reward_model_adapter(RewardModelConfig(model_path=folder, chat_template=str(tmp_path / "chat.jinja")))
    (tmp_path / "scorer" / "chat_template.jinja").unlink()
    assert adapter.tokenizer.chat_template.endswith("-> {{ messages[1].content }}")
    with pytest.raises(ConfigError, match=r"no chat template; set worker\.reward\.model\.chat_template"):
        reward_model_adapter(RewardModelConfig(model_path=folder))
