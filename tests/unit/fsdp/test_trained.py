# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy

from tests import policy_world, world
from verl.algorithms.contract import LossSettings
from verl.config.model import FsdpConfig, LoraConfig, ModelConfig
from verl.errors import ConfigError
from verl.fsdp.build import Blueprint, build
from verl.fsdp.policy import Policy
from verl.models.adapter import load_adapter
from verl.models.low_rank import is_adapter

LORA = LoraConfig(rank=2)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.tiny_model(tmp_path_factory.mktemp("trained") / "model")


@pytest.fixture(autouse=True)
def group(tmp_path: Path) -> None:
    policy_world.one_rank(tmp_path)


def built(path: Path, **model: Any) -> torch.nn.Module:
    blueprint = Blueprint(model=ModelConfig(**model), fsdp=FsdpConfig())
    return build(load_adapter(str(path)), blueprint, init_device_mesh("cpu", (1,)))


def part(name: str) -> str:
    if ".visual." not in name:
        return "language"
    return "merger" if "merger" in name else "tower"


@pytest.mark.parametrize(
    ("frozen", "learning"),
    [
        ({}, {"tower", "merger", "language"}),
        ({"freeze_vision_tower": True}, {"language"}),
        ({"freeze_vision_tower": True, "freeze_merger": False}, {"merger", "language"}),
        ({"freeze_merger": True}, {"tower", "language"}),
        ({"freeze_language_model": True}, {"tower", "merger"}),
        ({"freeze_language_model": True, "freeze_merger": True}, {"tower"}),
        ({"freeze_language_model": True, "freeze_vision_tower": True, "freeze_merger": False}, {"merger"}),
    ],
)
@pytest.mark.parametrize("lora", [LoraConfig(), LORA], ids=["whole", "adapters"])
def test_frozen_parts_stay_and_all_of_the_others_learn(
    frozen: dict[str, Any], learning: set[str], lora: LoraConfig, model_path: Path
) -> None:
    model = built(model_path, lora=lora, **frozen)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    expected = {name for name, _ in model.named_parameters() if part(name) in learning}
    assert trained == ({name for name in expected if is_adapter(name)} if lora.rank else expected)
    assert {part(name) for name in trained} == learning


@pytest.mark.parametrize("lora", [LoraConfig(), LORA], ids=["whole", "adapters"])
def test_a_model_of_frozen_parts_alone_is_refused(lora: LoraConfig, tmp_path: Path) -> None:
    text = world.tiny_model(tmp_path / "text", "qwen3")
    with pytest.raises(ConfigError, match=r"nothing is left to train"):
        built(text, lora=lora, freeze_language_model=True)


def test_a_critic_with_a_frozen_model_learns_its_head(model_path: Path) -> None:
    model = ModelConfig(freeze_language_model=True, freeze_vision_tower=True)
    blueprint = Blueprint(model=model, fsdp=FsdpConfig(), values=True)
    critic = build(load_adapter(str(model_path)), blueprint, init_device_mesh("cpu", (1,)))
    assert [name for name, weight in critic.named_parameters() if weight.requires_grad] == ["score.weight"]


@pytest.mark.parametrize("backwards", [0, 1])
def test_a_tower_in_which_nothing_learns_is_not_gone_back_through(model_path: Path, backwards: int) -> None:
    made = policy_world.World(load_adapter(str(model_path)))
    lora = replace(LORA, exclude_modules=() if backwards else (".*visual.*",))
    settings = policy_world.policy_settings(model={"lora": lora})
    policy = Policy(made.packer, settings, policy_world.training_settings(), init_device_mesh("cpu", (1,)))
    seen: list[bool] = []
    block = policy.model.model.visual.blocks[-1]
    block.register_forward_hook(lambda module, args, output: seen.append(output.requires_grad))
    rows = made.rows(made.prompt("what?", made.clip("a")), 0, [5, 9])
    policy.update([[policy_world.experience(row) for row in rows]], LossSettings())
    assert set(seen) == {bool(backwards)}


@pytest.mark.parametrize(
    ("device", "model", "fsdp", "expected"),
    [
        ("cpu", ModelConfig(lora=LORA), FsdpConfig(), torch.float32),
        ("cuda", ModelConfig(lora=LORA), FsdpConfig(), torch.bfloat16),
        ("cuda", ModelConfig(lora=LORA), FsdpConfig(torch_dtype="fp32"), torch.float32),
        ("cuda", ModelConfig(freeze_vision_tower=True), FsdpConfig(), torch.float32),
    ],
)
def test_what_adapters_stand_beside_is_kept_in_what_it_computes_with(
    device: str, model: ModelConfig, fsdp: FsdpConfig, expected: torch.dtype
) -> None:
    assert Blueprint(model=model, fsdp=fsdp).dtype(device) == expected


def test_adapters_of_a_narrow_model_are_wide_and_learn_beside_it(model_path: Path, monkeypatch: Any) -> None:
    """As on an accelerator: bfloat16 weights and float32 adapters in one sharded block, computed with in bfloat16."""
    mixed = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    monkeypatch.setattr("verl.fsdp.build._precision", lambda config, device: mixed)
    monkeypatch.setattr(Blueprint, "dtype", lambda self, device: torch.bfloat16)
    made = policy_world.World(load_adapter(str(model_path)))
    settings = policy_world.policy_settings(model={"lora": LORA})
    policy = Policy(made.packer, settings, policy_world.training_settings(), init_device_mesh("cpu", (1,)))
    kept = {is_adapter(name): weight.dtype for name, weight in policy.model.named_parameters()}
    assert kept == {True: torch.float32, False: torch.bfloat16}
    before = {name: weight.full_tensor().clone() for name, weight in policy.model.named_parameters()}
    rows = made.rows(made.prompt("what?", made.clip("a")), 0, [5, 9])
    for _ in range(2):
        policy.update([[policy_world.experience(row) for row in rows]], LossSettings())
    moved = {name for name, w in policy.model.named_parameters() if not torch.equal(w.full_tensor(), before[name])}
    adapters = {name for name in before if is_adapter(name)}
    assert {name for name in adapters if "deepstack" not in name} <= moved <= adapters  # two levels are never read
    assert {weight.dtype for _, weight in policy.full_weights()} == {torch.bfloat16}
