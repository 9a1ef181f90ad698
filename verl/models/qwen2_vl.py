# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Qwen2-VL (arXiv 2409.12191) and Qwen2.5-VL (arXiv 2502.13923): no timestamps, one run of placeholders per video."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLPreTrainedModel
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLForConditionalGeneration, Qwen2VLPreTrainedModel

from verl.models.adapter import ADAPTERS
from verl.models.qwen_vl import QwenVLAdapter
from verl.types import Grid, ImageMetadata, MediaMetadata


class Qwen2VLForSequenceClassification(GenericForSequenceClassification, Qwen2VLPreTrainedModel):
    """The class that transformers has for its text models and not for this one: weights `model.*`, `score.weight`."""


class Qwen25VLForSequenceClassification(GenericForSequenceClassification, Qwen2_5_VLPreTrainedModel):
    """Likewise."""


for _scorer in (Qwen2VLForSequenceClassification, Qwen25VLForSequenceClassification):  # files have older names
    register_checkpoint_conversion_mapping(
        _scorer.__name__, get_checkpoint_conversion_mapping(Qwen2VLForConditionalGeneration.__name__), overwrite=True
    )


@ADAPTERS.register("qwen2_vl")
class Qwen2VLAdapter(QwenVLAdapter):
    """Time advances by one from moment to moment, whatever the frame rate.

    transformers 5.19 lets text after a video begin inside the video's time; vLLM and the papers begin after it, and
    so do positions here.
    """

    scorer_class: ClassVar[Any] = Qwen2VLForSequenceClassification

    def runs(self, grid: Grid) -> tuple[int, ...]:
        """One."""
        return (grid.t,)


@ADAPTERS.register("qwen2_5_vl")
class Qwen25VLAdapter(Qwen2VLAdapter):
    """Time advances with the seconds that a moment covers; the vision tower attends in windows."""

    scorer_class: ClassVar[Any] = Qwen25VLForSequenceClassification

    def time_step(self, medium: MediaMetadata) -> float:
        """`tokens_per_second` times the seconds, which travel as float32 in vLLM and are multiplied in float64."""
        if isinstance(medium, ImageMetadata):
            return 1.0
        seconds = float(np.float32(self.temporal_patch_size / medium.sampled_fps))
        return seconds * self.config.vision_config.tokens_per_second
