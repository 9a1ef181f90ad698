# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What is written for others to read: names of weights, tied heads, reward models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.adapters.conftest import Library
from tests.adapters.families import Family
from tests.reward_models import tiny_reward_model
from tests.world import tiny_model
from verl.models.adapter import load_adapter
from verl.models.score_head import build_scorer


@pytest.mark.parametrize("tied", [False, True])
def test_a_trained_model_is_saved_under_the_names_of_the_hub(family: Family, tied: bool, tmp_path: Path) -> None:
    """As the merger does it, from weights by their names in memory."""
    adapter = load_adapter(str(tiny_model(tmp_path / "model", family.name, tied=tied)))
    trained = adapter.build(torch.float32)
    state = {name: parameter.detach() + 1 for name, parameter in trained.named_parameters()}
    adapter.save(state, tmp_path / "saved")
    before, after = (load_file(tmp_path / folder / "model.safetensors") for folder in ("model", "saved"))
    assert before.keys() == after.keys() >= set(family.stored)
    assert all(torch.equal(after[name], before[name] + 1) for name in before)
    assert ("lm_head.weight" in after) is not tied


def test_a_reward_model_of_the_family_is_read_with_its_head(library: Library, family: Family, tmp_path: Path) -> None:
    folder = tiny_reward_model(tmp_path / "model", family.name)
    scorer = build_scorer(load_adapter(str(folder)), torch.float32)
    weights = dict(library.adapter(family).build(torch.float32).named_parameters())
    for name, parameter in scorer.named_parameters():
        if name == "score.weight":
            assert float(parameter.std()) > 0.5
        else:
            assert torch.equal(parameter, weights[name]), name
