# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A value for every response token: what the rest of the response is expected to bring, before the token is known."""

from __future__ import annotations

from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method
from transformers import PreTrainedModel

from verl.fsdp.packing import MicroBatch
from verl.models.adapter import ModelAdapter
from verl.models.score_head import head_scores

_ENTRY = "value_forward"


def add_value_head(model: PreTrainedModel) -> None:
    """Put a head of one number, named as in a sequence classifier, in the place of the output embeddings.

    It starts at zero: all first values are 0, whatever the model and the number of ranks.
    """
    width = model.config.get_text_config().hidden_size
    head = nn.Linear(width, 1, bias=False, device=model.device, dtype=model.dtype)
    nn.init.zeros_(head.weight)
    model.set_output_embeddings(None)
    model.score = head


def add_value_forward(model: nn.Module, adapter: ModelAdapter) -> None:
    """Give `model` the method that `response_values` calls, so that sharded weights are gathered for it."""

    def value_forward(self: Any, batch: MicroBatch) -> Tensor:
        hidden = batch.own_states(adapter.hidden_states(self, batch.row))  # [T, D]
        values = batch.whole(head_scores(self, hidden))
        return values.clone()  # a view would lose FSDP's backward hook to an operation in place

    setattr(model, _ENTRY, MethodType(value_forward, model))
    if isinstance(model, FSDPModule):
        register_fsdp_forward_method(model, _ENTRY)


def response_values(model: nn.Module, batch: MicroBatch) -> Tensor:
    """Float32 values [B, R], zero in the padding: of the prompt and the tokens before each. They carry gradients."""
    return batch.pad(getattr(model, _ENTRY)(batch))
