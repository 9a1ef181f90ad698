# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What vLLM makes of a request before any model runs: its processor and its position ids, without an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from vllm.config import ModelConfig
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalFeatureSpec

from tests.adapters.media import Asked
from tests.adapters.prompts import prompt_of
from verl.models.adapter import ModelAdapter
from verl.rollout.requests import build_request


class EngineView:
    """vLLM's reading of prompts, by its own code."""

    def __init__(self, folder: Path, adapter: ModelAdapter) -> None:
        config = ModelConfig(model=str(folder), dtype="float32", max_model_len=4096, enforce_eager=True)
        self._adapter = adapter
        self._processor = MULTIMODAL_REGISTRY.create_processor(config)
        kind: Any = MULTIMODAL_REGISTRY._get_model_cls(config)
        self._model = kind.__new__(kind)  # no weights: positions depend on the config alone
        nn.Module.__init__(self._model)
        self._model.config = config.hf_config

    def read(self, asked: Asked) -> tuple[list[int], dict[str, list[list[int]]], torch.Tensor]:
        """Expanded ids, grids of each kind, positions [3, P]."""
        request = build_request(prompt_of(self._adapter, asked), asked.media)
        items = self._processor.info.parse_mm_data(request.get("multi_modal_data", {}))
        found = self._processor(request["prompt_token_ids"], items, None, request.get("mm_processor_kwargs", {}))
        features = [
            MultiModalFeatureSpec(data=data, modality=kind, identifier=f"{kind}{place}", mm_position=where)
            for kind, each in found["mm_kwargs"].items()
            for place, (data, where) in enumerate(zip(each, found["mm_placeholders"][kind], strict=True))
        ]
        grids = {
            kind: [data[f"{kind}_grid_thw"].data.tolist() for data in each] for kind, each in found["mm_kwargs"].items()
        }
        positions, _ = self._model.get_mrope_input_positions(found["prompt_token_ids"], features)
        return found["prompt_token_ids"], grids, positions
