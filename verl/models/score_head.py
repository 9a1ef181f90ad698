# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Reward models: a family's body with a trained head that gives one number to a whole sequence."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from verl.errors import ConfigError
from verl.models.adapter import ModelAdapter

HEAD = "score.weight"


def check_scorer(adapter: ModelAdapter) -> None:
    """Whether the adapter's folder holds a reward model, as far as config and headers tell; no weights are read.

    Raises ConfigError for another number of labels than one, and for a head that was never trained.
    """
    labels = adapter.config.num_labels
    names = list(_weight_names(Path(adapter.model_path)))
    if names and not any(name.endswith(HEAD) for name in names):
        raise _untrained(adapter, [HEAD])
    if labels != 1:
        raise ConfigError(
            f"{adapter.model_path!r} is a classifier with num_labels={labels}; a reward model gives one number:"
            " num_labels=1 in its config.json"
        )


def build_scorer(adapter: ModelAdapter, dtype: torch.dtype) -> PreTrainedModel:
    """The network with its head, frozen, with segment attention. Raises ConfigError for weights that are missing."""
    check_scorer(adapter)
    transformers_logging.disable_progress_bar()
    model, found = adapter.scorer_class.from_pretrained(
        adapter.model_path,
        config=copy.deepcopy(adapter.config),
        dtype=dtype,
        attn_implementation=adapter.attention(),
        local_files_only=True,
        trust_remote_code=adapter.trust_remote_code,
        output_loading_info=True,
    )
    if found["missing_keys"]:
        raise _untrained(adapter, sorted(found["missing_keys"]))
    return adapter.prepare(model).eval().requires_grad_(False)


def head_scores(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Scores [B] of hidden states [B, D], in float32 at least: a score in bf16 has three digits."""
    head: nn.Linear = model.score  # type: ignore[assignment]
    precise = torch.promote_types(hidden.dtype, torch.float32)
    bias = None if head.bias is None else head.bias.to(precise)
    return F.linear(hidden.to(precise), head.weight.to(precise), bias)[:, 0]


def _untrained(adapter: ModelAdapter, missing: list[str]) -> ConfigError:
    names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    return ConfigError(
        f"{adapter.model_path!r} lacks {names}: it would score with random numbers. Name a reward model, that is, a"
        " checkpoint of a sequence classifier with its trained head"
    )


def _weight_names(folder: Path) -> Iterator[str]:
    """Names of the weights in a folder's safetensors files; nothing for other formats."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        yield from json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            yield from weights.keys()
