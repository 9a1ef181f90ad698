# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Qwen3-VL with experts: Qwen3-VL but for how the weights of experts are stored."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.models.qwen3_vl_moe.modeling_qwen3_vl_moe import Qwen3VLMoePreTrainedModel

from verl.errors import ConfigError
from verl.models.adapter import ADAPTERS, Checkpoint
from verl.models.qwen3_vl import Qwen3VLAdapter


class Qwen3VLMoeForSequenceClassification(GenericForSequenceClassification, Qwen3VLMoePreTrainedModel):
    """The class that transformers has for its text models and not for this one: weights `model.*`, `score.weight`."""


@ADAPTERS.register("qwen3_vl_moe")
class Qwen3VLMoeAdapter(Qwen3VLAdapter):
    """Published experts are [experts, D, 2 * width] and [experts, width, D], the transposes of those in memory.

    transformers 5.19 transposes them when it reads them, and does not when it saves. vLLM 0.32 wants what is published.
    """

    scorer_class: ClassVar = Qwen3VLMoeForSequenceClassification
    renamed_on_save: ClassVar[bool] = False

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        text = checkpoint.config.text_config
        if text.hidden_size in (text.moe_intermediate_size, 2 * text.moe_intermediate_size):
            raise ConfigError(
                f"{checkpoint.path!r}: experts of width {text.moe_intermediate_size} in {text.hidden_size} dimensions"
                " have square weights, and transformers tells by their shape whether they are transposed"
            )
        if not getattr(text, "norm_topk_prob", True):
            raise ConfigError(
                f"{checkpoint.path!r} says norm_topk_prob=false; transformers ignores that, vLLM does not: set it true"
            )

    def as_published(self, name: str, weight: Tensor) -> Tensor:
        """Experts transposed."""
        is_expert = name.endswith((".experts.gate_up_proj", ".experts.down_proj"))
        return weight.transpose(1, 2).contiguous() if is_expert else weight
