# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which weights learn: all, all but some parts of the model, or low-rank adapters on what is not frozen."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from verl.config.model import ModelConfig
from verl.errors import ConfigError
from verl.models.adapter import ModelAdapter
from verl.models.low_rank import add_adapters, targets


def choose_trained(
    model: PreTrainedModel, family: ModelAdapter, config: ModelConfig, dtype: torch.dtype, seed: int
) -> None:
    """Freeze what `config` freezes; with lora.rank > 0 everything, beside adapters of type `dtype`.

    Raises ConfigError when nothing is left to learn.
    """
    frozen = frozen_weights(model, family, config)
    if config.lora.rank:
        names = targets(model, config.lora, frozen)
        if names:
            add_adapters(model, config.lora, names, dtype, seed)
    else:
        for parameter in frozen:
            parameter.requires_grad_(False)
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not names:
        raise ConfigError(
            f"nothing is left to train in {family.model_path}: worker.actor.model.freeze_* and lora.* leave out every"
            " part that this model has"
        )


def frozen_weights(model: PreTrainedModel, family: ModelAdapter, config: ModelConfig) -> set[nn.Parameter]:
    """The weights of the frozen parts. A value head belongs to none of them."""
    tower = family.vision_tower(model)
    seeing = set() if tower is None else set(tower.parameters())
    merging = {weight for merger in family.mergers(model) for weight in merger.parameters()}
    found: set[nn.Parameter] = set()
    if config.freeze_vision_tower:
        found |= seeing - merging
    if config.freeze_vision_tower if config.freeze_merger is None else config.freeze_merger:
        found |= merging
    if config.freeze_language_model:
        score = getattr(model, "score", None)
        found |= set(model.parameters()) - seeing - (set() if score is None else set(score.parameters()))
    return found
