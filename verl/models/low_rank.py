# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters (LoRA, arXiv 2106.09685) beside frozen matrices: where they go, and what their weights are called.

peft puts them in place of linear layers: `x.weight` becomes `x.base_layer.weight`, and beside it there are
`x.lora_A.default.weight` [r, in] and `x.lora_B.default.weight` [out, r]. What leaves the process has other names: those
of the model alone, or those of a peft folder.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from verl.config.model import LoraConfig
from verl.errors import ConfigError
from verl.registry import nearest

ALL_LINEAR = "all-linear"
_BASE = ".base_layer."
_DOWN, _UP = ".lora_A.default.weight", ".lora_B.default.weight"
_PEFT = "base_model.model."  # in front of every name in a peft folder


def targets(model: nn.Module, config: LoraConfig, frozen: Collection[nn.Parameter]) -> list[str]:
    """Names of the linear layers that get an adapter: none whose weight is in `frozen`, nor the output embeddings.

    An entry of target_modules or exclude_modules is a whole name, the end of one ("q_proj"), or a regular expression
    for a whole one (".*visual.*"). Raises ConfigError for one that no linear layer of the model answers to.
    """
    head = getattr(model, "get_output_embeddings", lambda: None)()
    linear = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head}
    for key, entries in (("target_modules", config.target_modules), ("exclude_modules", config.exclude_modules)):
        for entry in entries:
            if entry != ALL_LINEAR and not any(_answers(name, entry) for name in linear):
                known = {name.rpartition(".")[2] for name in linear}
                raise ConfigError(
                    f"worker.actor.model.lora.{key}: no linear layer is called {entry!r}{nearest(entry, known)}"
                )
    return [
        name
        for name, module in linear.items()
        if any(entry == ALL_LINEAR or _answers(name, entry) for entry in config.target_modules)
        and not any(_answers(name, entry) for entry in config.exclude_modules)
        and module.weight not in frozen
    ]


def _answers(name: str, entry: str) -> bool:
    if name == entry or name.endswith(f".{entry}"):
        return True
    try:
        return re.fullmatch(entry, name) is not None
    except re.error:
        return False


def add_adapters(model: nn.Module, config: LoraConfig, names: list[str], dtype: torch.dtype, seed: int) -> None:
    """Give the linear layers `names` adapters that change nothing yet, and freeze all else.

    Their first values depend on name and seed alone, so that every rank draws the same. On the meta device there are
    none: see `first_values`.
    """
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    peft = PeftConfig(r=config.rank, lora_alpha=config.alpha, target_modules=names, init_lora_weights=False)
    on_meta = any(parameter.is_meta for parameter in model.parameters())
    inject_adapter_in_model(peft, model, low_cpu_mem_usage=on_meta)
    for name, parameter in model.named_parameters():
        if not is_adapter(name):
            continue
        parameter.data = parameter.data.to(dtype)
        if not on_meta:
            parameter.data.copy_(first_values(name, parameter, seed))


def first_values(name: str, weight: Tensor, seed: int) -> Tensor:
    """What the part `name` of an adapter starts with, whole, in host memory, of the shape and type of `weight`."""
    values = torch.zeros(weight.shape, dtype=weight.dtype)
    if name.endswith(_DOWN):
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}/{name}".encode()))
        nn.init.kaiming_uniform_(values, a=math.sqrt(5), generator=generator)
    return values


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """The model as it was before it got adapters. Not around a backward pass.

    WORKAROUND(peft 0.21): its own switch also sets requires_grad, on whichever copy of a weight, sharded or gathered,
    FSDP2 shows at that moment, and leaves the other as it was. `_disable_adapters` is all that the forward pass reads.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers: list[Any] = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


# -- names


def is_adapter(name: str) -> bool:
    """Whether a weight in memory is a part of an adapter."""
    return name.endswith((_DOWN, _UP))


def plain_name(name: str) -> str:
    """What a weight in memory is called in the model without adapters."""
    return name.replace(_BASE, ".")


def adapted(names: Collection[str]) -> list[str]:
    """The layers that have an adapter among weights in memory, sorted."""
    return sorted(name.removesuffix(_UP) for name in names if name.endswith(_UP))


def parts(layer: str) -> tuple[str, str]:
    """In-memory names of the two matrices of an adapter: [r, in] and [out, r]."""
    return layer + _DOWN, layer + _UP


def peft_name(name: str) -> str:
    """What a part of an adapter is called in a peft folder."""
    return _PEFT + name.replace(".default.weight", ".weight")


def peft_layers(names: Collection[str]) -> list[str]:
    """The layers that have an adapter among names in a peft folder, sorted."""
    end = ".lora_B.weight"
    return sorted(name.removeprefix(_PEFT).removesuffix(end) for name in names if name.endswith(end))


# -- values


def merged_weight(weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """Float32 `weight` + scale * up @ down. `scale` is alpha / rank."""
    return weight.float() + (up.float() @ down.float()) * scale


def merged(name: str, weights: Mapping[str, Tensor], scale: float) -> Tensor:
    """The weight `name` among those of a model in memory, with its adapter in it, if it has one."""
    weight = weights[name].detach()
    layer = name.removesuffix(".weight").removesuffix(_BASE[:-1])
    down, up = parts(layer)
    if up not in weights or not name.endswith(f"{_BASE}weight"):
        return weight
    return merged_weight(weight, weights[down].detach(), weights[up].detach(), scale)


# -- a peft folder


def peft_settings(layers: Collection[str], *, rank: int, alpha: int, base: str) -> dict[str, Any]:
    """adapter_config.json of adapters on `layers` of the model `base`."""
    return {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": sorted(layers),
        "bias": "none",
        "lora_dropout": 0.0,
        "inference_mode": True,
    }


def write_peft_folder(folder: Path, settings: Mapping[str, Any], weights: bytes) -> None:
    """A folder that `PeftModel.from_pretrained` and vLLM load. `weights` is a safetensors file under peft's names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(dict(settings), indent=2) + "\n", encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes(weights)
