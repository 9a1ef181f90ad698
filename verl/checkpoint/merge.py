# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint's actor folder -> a Hugging Face model folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint import state_dict_loader
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from transformers import PreTrainedModel

from verl.checkpoint import durable
from verl.checkpoint.adapter import Lora, base_folder, merged_weights, read_lora, write_peft
from verl.checkpoint.layout import HUGGINGFACE, copy_small_files
from verl.checkpoint.sharded import SHARDS, check_shapes, stored_shapes
from verl.errors import CheckpointError
from verl.models.adapter import load_adapter


def merge(actor: Path, target: Path | None = None, dtype: torch.dtype | None = None, base: Path | None = None) -> Path:
    """Write a folder that `from_pretrained` and vLLM load: safetensors under the hub's names, tied weights once.

    `actor` is <checkpoint>/global_step_N/actor. `target` defaults to its huggingface/ folder; `dtype` to the stored
    one. Raises CheckpointError when a tensor is missing, is left over, or has another shape than the config says, and
    when `target` is there and no model: it is replaced as a whole.

    Adapters go into the weights of the model that they were trained beside, found at `base` if it has moved, and keep
    that one's type.
    """
    files = actor / HUGGINGFACE
    if not (files / "config.json").is_file():
        raise CheckpointError(f"{files} has no config.json; --local_dir must be a checkpoint's actor folder")
    target = files if target is None else _replaceable(target)
    adapter = load_adapter(str(files))
    shell = adapter.build(torch.float32, meta=True)
    lora = read_lora(actor)
    if lora is not None and target == base_folder(lora, base).resolve():
        raise CheckpointError(f"{target} is the model that the adapters were trained beside; name another folder")
    if lora is None:
        wanted = {name: tuple(value.shape) for name, value in _tensors(shell).items()}
        check_shapes(actor, stored_shapes(actor), wanted)
    state = _read(actor, dtype) if lora is None else _with_adapters(shell, actor, lora, base, dtype)
    temporary = durable.hidden(target, "tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    adapter.save(state, temporary)
    copy_small_files(files, temporary)
    for weights in temporary.glob("*.safetensors"):
        durable.sync(weights)
    durable.replace_folder(temporary, target)
    return target


def export_adapter(actor: Path, target: Path, dtype: torch.dtype | None = None) -> Path:
    """Write the adapters of a checkpoint as a folder that peft loads. Raises CheckpointError when it has none."""
    lora = read_lora(actor)
    if lora is None:
        raise CheckpointError(f"{actor} has no adapters: the run trained whole weights; merge it instead")
    target = _replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    return write_peft(_read(actor, dtype), lora, target)


def _replaceable(target: Path) -> Path:
    """`target`, absolute. Raises CheckpointError when it holds something, and no model."""
    target = target.expanduser().resolve()
    is_model = any((target / name).is_file() for name in ("config.json", "adapter_config.json"))
    is_empty = target.is_dir() and not any(target.iterdir())
    if target.exists() and not is_model and not is_empty:
        raise CheckpointError(
            f"{target} is there and holds no model; all that is in it would be deleted: name a new folder inside"
        )
    return target


def _with_adapters(
    shell: PreTrainedModel, actor: Path, lora: Lora, base: Path | None, dtype: torch.dtype | None
) -> dict[str, Tensor]:
    options: dict[str, Any] = {"config": shell.config, "dtype": "auto", "local_files_only": True}
    weights = _tensors(type(shell).from_pretrained(base_folder(lora, base), **options))
    found = merged_weights(weights, _read(actor), lora)
    return {name: tensor.to(dtype or weights[name].dtype) for name, tensor in found.items()}


def _tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """What a checkpoint of `model` holds: its state, a tied tensor under its first name only."""
    names = {name for name, _ in model.named_parameters()} | {name for name, _ in model.named_buffers()}
    return {name: value for name, value in model.state_dict().items() if name in names}


def _read(actor: Path, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Whole tensors by name, in memory."""
    entries = FileSystemReader(actor / SHARDS).read_metadata().state_dict_metadata
    state = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in entries.items()
        if name.startswith("model.") and isinstance(entry, TensorStorageMetadata)
    }
    state_dict_loader.load(state, checkpoint_id=actor / SHARDS, no_dist=True)
    return {
        name.removeprefix("model."): tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
