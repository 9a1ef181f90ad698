# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny random reward models, and rows for them to read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from tests.world import Family, tiny_model
from verl.models.adapter import ADAPTERS, load_adapter
from verl.types import Trajectory


def tiny_reward_model(directory: Path, family: Family = "qwen3", *, num_labels: int = 1) -> Path:
    """A folder with a random body and a random head whose scores lie well apart."""
    tiny_model(directory, family)
    adapter = load_adapter(str(directory))
    torch.manual_seed(7)
    model = ADAPTERS[family].scorer_class.from_pretrained(directory, num_labels=num_labels)
    torch.nn.init.normal_(model.score.weight, std=1.0)
    model.save_pretrained(directory)
    adapter.tokenizer.save_pretrained(directory)
    return directory


def says(row: Trajectory, text: str) -> Trajectory:
    """The same row with another response."""
    return replace(row, text=text)
