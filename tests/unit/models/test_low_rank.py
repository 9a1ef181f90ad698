# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from verl.config.model import LoraConfig
from verl.errors import ConfigError
from verl.models.low_rank import (
    adapted,
    add_adapters,
    is_adapter,
    merged,
    peft_layers,
    peft_name,
    plain_name,
    targets,
    without_adapters,
)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(4, 6)
        self.up = nn.Linear(6, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.up(self.q_proj(x).tanh())


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = Layer()
        self.layers = nn.ModuleList([Layer(), Layer()])
        self.head = nn.Linear(4, 9, bias=False)

    def get_output_embeddings(self) -> nn.Linear:
        return self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in (self.visual, *self.layers):
            x = layer(x)
        return self.head(x)


@pytest.mark.parametrize(
    ("wanted", "spared", "expected"),
    [
        (["all-linear"], [], ["visual.q_proj", "visual.up", "layers.0.q_proj", "layers.0.up", "layers.1.q_proj"]),
        (["all-linear"], [".*visual.*", "up"], ["layers.0.q_proj", "layers.1.q_proj"]),
        (["q_proj"], ["layers.1.q_proj"], ["visual.q_proj", "layers.0.q_proj"]),
        ([r"layers\.\d\..*"], ["q_proj"], ["layers.0.up"]),
    ],
)
def test_names_ends_and_patterns_choose_layers(wanted: list[str], spared: list[str], expected: list[str]) -> None:
    model = Model()
    config = LoraConfig(rank=2, target_modules=tuple(wanted), exclude_modules=tuple(spared))
    assert targets(model, config, {model.layers[1].up.weight}) == expected  # which is frozen


@pytest.mark.parametrize("key", ["target_modules", "exclude_modules"])
@pytest.mark.parametrize("entry", ["k_proj", "proj", "head", "(", ".*vision.*"])
def test_a_name_that_no_layer_has_is_refused(key: str, entry: str) -> None:
    """The end of a name is whole parts of it; the output head is none of the layers."""
    with pytest.raises(ConfigError, match=rf"lora\.{key}: no linear layer is called"):
        targets(Model(), LoraConfig(rank=2, **{key: (entry,)}), set())


def test_new_adapters_change_nothing_and_are_all_that_learns() -> None:
    model, x = Model(), torch.randn(3, 4)
    before = model(x)
    add_adapters(model, LoraConfig(rank=2, alpha=6), ["visual.up", "layers.1.q_proj"], torch.float64, seed=1)
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert learning == {name for name, _ in model.named_parameters() if is_adapter(name)}
    assert adapted(learning) == ["layers.1.q_proj", "visual.up"]
    assert all(model.get_parameter(name).dtype == torch.float64 for name in learning)
    assert torch.equal(model.to(torch.float32)(x), before)


def test_first_values_depend_on_name_and_seed_alone() -> None:
    found = []
    for seed, names in ((1, ["visual.up", "layers.0.up"]), (1, ["layers.0.up"]), (2, ["layers.0.up"])):
        model = Model()
        add_adapters(model, LoraConfig(rank=2), names, torch.float32, seed)
        found.append(model.get_parameter("layers.0.up.lora_A.default.weight").detach())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_a_model_without_its_adapters_is_itself_and_learns_afterwards() -> None:
    model, x = Model(), torch.randn(3, 4)
    before = model(x)
    add_adapters(model, LoraConfig(rank=2), ["visual.up"], torch.float32, seed=1)
    nn.init.normal_(model.get_parameter("visual.up.lora_B.default.weight"))
    with without_adapters(model):
        assert torch.equal(model(x), before)
    assert not torch.equal(model(x), before)
    model(x).sum().backward()
    assert all(weight.grad is not None for name, weight in model.named_parameters() if is_adapter(name))


def test_a_merged_weight_does_what_weight_and_adapter_do() -> None:
    model, x = Model(), torch.randn(3, 4)
    add_adapters(model, LoraConfig(rank=2, alpha=6), ["visual.up", "layers.0.q_proj"], torch.float32, seed=1)
    for name, weight in model.named_parameters():
        if is_adapter(name):
            nn.init.normal_(weight)
    held = dict(model.named_parameters())
    found = {plain_name(name): merged(name, held, 3.0) for name in held if not is_adapter(name)}
    plain = Model()
    plain.load_state_dict(found)
    torch.testing.assert_close(plain(x), model(x), atol=1e-5, rtol=1e-5)


def test_names_in_a_peft_folder() -> None:
    names = [peft_name(f"a.b.lora_{part}.default.weight") for part in "AB"]
    assert names == ["base_model.model.a.b.lora_A.weight", "base_model.model.a.b.lora_B.weight"]
    assert peft_layers(names) == ["a.b"]
    assert plain_name("a.b.base_layer.weight") == "a.b.weight"
