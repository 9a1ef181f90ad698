# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A reward model on a GPU scores as it does on a CPU, as far as bf16 goes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.policy_world import MemoryReader
from tests.reward_models import says, tiny_reward_model
from tests.rows import prompt, trajectory
from verl.fsdp.reward_model import RewardModel, ScorerSettings
from verl.models.adapter import load_adapter

pytestmark = pytest.mark.gpu


def test_bf16_on_a_gpu_is_as_near_to_float32_as_bf16_on_a_cpu(tmp_path):
    folder = tiny_reward_model(tmp_path)
    rows = [says(trajectory(0, i, of=prompt(problem="What moves?")), text) for i, text in enumerate(["a", "a box", ""])]

    def scores(device: str, dtype: torch.dtype) -> np.ndarray:
        settings = ScorerSettings(dtype=dtype, device=device, token_budget=512, normalisation="none")
        model = RewardModel(load_adapter(str(folder)), settings, MemoryReader())
        return np.array([verdict.parts["model_score"] for verdict in model.score(rows)])

    exact = scores("cpu", torch.float32)
    rounding = np.abs(scores("cpu", torch.bfloat16) - exact).max()
    assert np.abs(scores("cuda", torch.bfloat16) - exact).max() < 4 * rounding
