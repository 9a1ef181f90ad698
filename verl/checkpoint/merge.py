# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint's actor folder -> a Hugging Face model folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint import state_dict_loader
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from transformers import PreTrainedModel

from verl.checkpoint import durable
from verl.checkpoint.layout import HUGGINGFACE, copy_small_files
from verl.checkpoint.sharded import SHARDS, check_shapes, stored_shapes
from verl.errors import CheckpointError
from verl.models.adapter import load_adapter


def merge(actor: Path, target: Path | None = None, dtype: torch.dtype | None = None) -> Path:
    """Write a folder that `from_pretrained` and vLLM load: safetensors under the hub's names, tied weights once.

    `actor` is <checkpoint>/global_step_N/actor. `target` defaults to its huggingface/ folder; `dtype` to the stored
    one. Raises CheckpointError when a tensor is missing, is left over, or has another shape than the config says.
    """
    files = actor / HUGGINGFACE
    if not (files / "config.json").is_file():
        raise CheckpointError(f"{files} has no config.json; --local_dir must be a checkpoint's actor folder")
    shell = load_adapter(str(files)).build(torch.float32, meta=True)
    wanted = {name: tuple(value.shape) for name, value in _tensors(shell).items()}
    check_shapes(actor, stored_shapes(actor), wanted)
    state = _read(actor, dtype)
    target = target or files
    temporary = durable.hidden(target, "tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shell.save_pretrained(temporary, state_dict=state)
    copy_small_files(files, temporary)
    for weights in temporary.glob("*.safetensors"):
        durable.sync(weights)
    durable.replace_folder(temporary, target)
    return target


def _tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """What a checkpoint of `model` holds: its state, a tied tensor under its first name only."""
    names = {name for name, _ in model.named_parameters()} | {name for name, _ in model.named_buffers()}
    return {name: value for name, value in model.state_dict().items() if name in names}


def _read(actor: Path, dtype: torch.dtype | None) -> dict[str, Tensor]:
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
