# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Qwen3.5, dense and with experts: prompts as Qwen3-VL's; most decoder layers are gated delta nets, not attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5ForSequenceClassification
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoePreTrainedModel

from verl.models.adapter import ADAPTERS, PackedRow
from verl.models.delta_net import respect_segments
from verl.models.qwen3_vl import Qwen3VLAdapter
from verl.models.ulysses import check_heads


class Qwen35MoeForSequenceClassification(GenericForSequenceClassification, Qwen3_5MoePreTrainedModel):
    """The class that transformers has for the dense model and not for this one: weights `model.*`, `score.weight`."""


@ADAPTERS.register("qwen3_5")
class Qwen35Adapter(Qwen3VLAdapter):
    """No deeper vision features. Packed rows and shared prompts are exact in the linear layers too."""

    scorer_class: ClassVar[Any] = Qwen3_5ForSequenceClassification

    def deeper(self, row: PackedRow, levels: Sequence[Tensor]) -> dict[str, Any]:
        """Nothing."""
        return {}

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        """With gated delta nets that stop at the borders of segments."""
        respect_segments(model)
        return model

    def check_sequence(self, size: int) -> None:
        """Heads of linear attention are shared out too."""
        super().check_sequence(size)
        check_heads(self.config.get_text_config().linear_num_value_heads, size)


@ADAPTERS.register("qwen3_5_moe")
class Qwen35MoeAdapter(Qwen35Adapter):
    """Experts are stored as they are in memory, [experts, 2 * width, D] and [experts, D, width].

    transformers 5.19 would save them one by one, which is what it also reads, but not how they are published.
    """

    scorer_class: ClassVar = Qwen35MoeForSequenceClassification
    renamed_on_save: ClassVar[bool] = False
