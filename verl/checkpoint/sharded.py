# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One role's part of a checkpoint: sharded weights, optimizer, schedule, and the random state of every rank.

<folder>/shards/           torch.distributed.checkpoint: every rank writes its own, any world size reads them
<folder>/rng/rank_R.json   random state, by rank
<folder>/schedule.json     position of the learning rate schedule
<folder>/huggingface/      config and tokenizer files of the model
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from verl.checkpoint import durable
from verl.errors import CheckpointError
from verl.models.low_rank import is_adapter

SHARDS = "shards"
_RNG = "rng"
_SCHEDULE = "schedule.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trained:
    """What a role trains, on this rank."""

    model: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler


def save(folder: Path, trained: Trained, *, model_only: bool = False) -> None:
    """Write this rank's part into `folder`. Collective: all ranks call it, on storage they share."""
    rank = _rank()
    (folder / _RNG).mkdir(parents=True, exist_ok=True)
    state: dict[str, Any] = {"model": _model_state(trained.model)}
    if not model_only:
        trained.optimizer.zero_grad(set_to_none=True)
        state["optimizer"] = get_optimizer_state_dict(trained.model, trained.optimizer)
        durable.write_json(folder / _RNG / f"rank_{rank}.json", _rng_state())
        if rank == 0:
            durable.write_json(folder / _SCHEDULE, trained.schedule.state_dict())
    state_dict_saver.save(state, checkpoint_id=folder / SHARDS)


def load(folder: Path, trained: Trained) -> None:
    """Read what `save` wrote, with any number of ranks. Collective. At the same world size it is bitwise exact.

    Raises CheckpointError when the folder is incomplete, holds the model only, or is of another model.
    """
    shapes = stored_shapes(folder)
    model = _model_state(trained.model)
    check_shapes(folder, shapes, {name: tuple(tensor.shape) for name, tensor in model.items()})
    if not (folder / _SCHEDULE).is_file():
        raise CheckpointError(
            f"{folder} holds the model only, so training cannot go on from it; merge it with scripts/model_merger.py"
            " and set worker.actor.model.model_path to the result"
        )
    trained.optimizer.zero_grad(set_to_none=True)
    state = {"model": model, "optimizer": get_optimizer_state_dict(trained.model, trained.optimizer)}
    try:
        state_dict_loader.load(state, checkpoint_id=folder / SHARDS)
    except (CheckpointException, RuntimeError, ValueError, OSError) as error:
        raise CheckpointError(f"{folder / SHARDS} cannot be read; use another checkpoint: {error}") from error
    set_model_state_dict(trained.model, state["model"], options=StateDictOptions(strict=False))
    set_optimizer_state_dict(trained.model, trained.optimizer, state["optimizer"])
    trained.schedule.load_state_dict(json.loads((folder / _SCHEDULE).read_text()))
    _load_rng(folder / _RNG)


def local_state(trained: Trained) -> Iterator[tuple[str, bytes]]:
    """Everything this rank's training depends on, by name. Equal bytes mean equal runs from here on."""
    for name, parameter in trained.model.named_parameters():
        yield f"model.{name}", _raw(parameter)
        for key, value in sorted(trained.optimizer.state.get(parameter, {}).items()):
            yield f"optimizer.{name}.{key}", _raw(value)
    yield "schedule", json.dumps(trained.schedule.state_dict(), sort_keys=True).encode()
    yield "rng", json.dumps(_rng_state()).encode()


def stored_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every model tensor in a checkpoint folder. Raises CheckpointError when there is none."""
    metadata = folder / SHARDS / ".metadata"
    if not metadata.is_file():
        raise CheckpointError(f"{folder} holds no complete {SHARDS}/ (no {metadata}); use another checkpoint")
    entries = FileSystemReader(folder / SHARDS).read_metadata().state_dict_metadata
    return {
        name.removeprefix("model."): tuple(entry.size)
        for name, entry in entries.items()
        if name.startswith("model.") and isinstance(entry, TensorStorageMetadata)
    }


def check_shapes(folder: Path, stored: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raises CheckpointError unless `stored` and `wanted` name the same tensors with the same shapes."""
    wrong = sorted(
        f"{name}: {stored.get(name, 'absent')} in the checkpoint, {wanted.get(name, 'absent')} in the model"
        for name in stored.keys() | wanted.keys()
        if stored.get(name) != wanted.get(name)
    )
    if wrong:
        listed = "; ".join(wrong[:5]) + ("; ..." if len(wrong) > 5 else "")
        raise CheckpointError(
            f"{folder} is of another model: {len(wrong)} tensors differ ({listed});"
            " check model_path and override_config"
        )


def _model_state(model: nn.Module) -> dict[str, Any]:
    """Sharded tensors by name, a tied one under its first name only; of a model with adapters, these alone."""
    names = {name for name, _ in model.named_parameters()} | {name for name, _ in model.named_buffers()}
    names = set(filter(is_adapter, names)) or names
    return {name: value for name, value in get_model_state_dict(model).items() if name in names}


def _raw(value: torch.Tensor) -> bytes:
    local = value.to_local() if isinstance(value, DTensor) else value
    if is_traceable_wrapper_subclass(local):  # quantised: codes and scales
        return b"".join(_raw(getattr(local, name)) for name in local.__tensor_flatten__()[0])
    return local.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _rng_state() -> dict[str, Any]:
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        "cuda": None if cuda is None else cuda.numpy().tobytes().hex(),
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, gauss],
        "python": random.getstate(),
    }


def _load_rng(folder: Path) -> None:
    path = folder / f"rank_{_rank()}.json"
    if not path.is_file():
        seed = 1_000_003 * (1 + _rank())
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        log.warning("no random state of rank %d in %s (other world size): seeded with %d", _rank(), folder, seed)
        return
    state = json.loads(path.read_text())
    torch.set_rng_state(_bytes(state["torch"]))
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(_bytes(state["cuda"]))
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, np.asarray(keys, dtype=np.uint32), position, has_gauss, gauss))
    version, numbers, following = state["python"]
    random.setstate((version, tuple(numbers), following))


def _bytes(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
