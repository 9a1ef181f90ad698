# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of low-rank adapters: the model that they belong to is named, not copied.

<actor>/lora.json    scale, and which weights the adapters were trained beside
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from verl.checkpoint import durable
from verl.errors import CheckpointError
from verl.models.low_rank import adapted, merged_weight, parts, peft_name, peft_settings, write_peft_folder

LORA_FILE = "lora.json"
_SAMPLES, _SAMPLE_BYTES = 64, 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """What adapters cannot say themselves."""

    rank: int
    alpha: int
    base_model: str  # folder of the model without them
    base_digest: str

    @property
    def scale(self) -> float:
        """What the product of an adapter's matrices is multiplied by."""
        return self.alpha / self.rank


def describe(rank: int, alpha: int, base: Path) -> Lora:
    """Adapters of that shape on the model folder `base`."""
    return Lora(rank=rank, alpha=alpha, base_model=str(base.resolve()), base_digest=weights_digest(base))


def write_lora(folder: Path, lora: Lora) -> None:
    """Write what `read_lora` reads into an actor folder."""
    folder.mkdir(parents=True, exist_ok=True)
    durable.write_json(folder / LORA_FILE, asdict(lora))


def read_lora(folder: Path) -> Lora | None:
    """None for a checkpoint that holds whole weights."""
    file = folder / LORA_FILE
    if not file.is_file():
        return None
    try:
        return Lora(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{file} is damaged ({error}); use another checkpoint") from error


def check_lora(folder: Path, lora: Lora | None) -> None:
    """Raises CheckpointError when the checkpoint in `folder` has other adapters than `lora`, or another base model."""
    stored = read_lora(folder)
    if (stored is None) != (lora is None):
        held, wanted = ("whole weights", "adapters") if stored is None else ("adapters", "whole weights")
        raise CheckpointError(f"{folder} holds {held} and this run trains {wanted}: set worker.actor.model.lora.rank")
    if stored is None or lora is None:
        return
    if (stored.rank, stored.alpha) != (lora.rank, lora.alpha):
        raise CheckpointError(
            f"{folder} has adapters of rank {stored.rank} and alpha {stored.alpha}: set worker.actor.model.lora.rank"
            " and lora.alpha to these"
        )
    if stored.base_digest != lora.base_digest:
        raise CheckpointError(
            f"{folder} has adapters for {stored.base_model}; {lora.base_model} has other weights than that had:"
            " set worker.actor.model.model_path to the model that training started from"
        )


def base_folder(lora: Lora, elsewhere: Path | None) -> Path:
    """The model folder that adapters were trained beside, or a copy of it `elsewhere`.

    Raises CheckpointError when it is gone or has other weights.
    """
    folder = elsewhere or Path(lora.base_model)
    if not folder.is_dir():
        raise CheckpointError(f"the adapters belong to {folder}, which is not there; say where it is with --base_model")
    if weights_digest(folder) != lora.base_digest:
        raise CheckpointError(f"{folder} has other weights than the adapters were trained beside; give --base_model")
    return folder


def weights_digest(folder: Path) -> str:
    """A digest of the weight files in a model folder: sizes, and 64 samples of 4 KiB of each, evenly spread.

    It tells one model from another in no time, not every changed bit.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            for place in range(_SAMPLES):
                file.seek(place * max(size - _SAMPLE_BYTES, 0) // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def merged_weights(weights: Mapping[str, Tensor], adapters: Mapping[str, Tensor], lora: Lora) -> dict[str, Tensor]:
    """`weights` of the model without `adapters`, which have their names in memory, with these in them.

    Those that have one are float32. Raises CheckpointError for an adapter that fits no weight.
    """
    found = dict(weights)
    for layer in adapted(adapters):
        name = f"{layer}.weight"
        down, up = (adapters[part] for part in parts(layer))
        if name not in weights or weights[name].shape != (up.shape[0], down.shape[1]):
            raise CheckpointError(f"the adapter of {layer} fits no weight of {lora.base_model}; it is another model")
        found[name] = merged_weight(weights[name], down, up, lora.scale)
    return found


def write_peft(adapters: Mapping[str, Tensor], lora: Lora, target: Path) -> Path:
    """A folder for `PeftModel.from_pretrained(base_model, target)`."""
    temporary = durable.hidden(target, "tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    settings = peft_settings(adapted(adapters), rank=lora.rank, alpha=lora.alpha, base=lora.base_model)
    named = {peft_name(name): tensor.contiguous() for name, tensor in adapters.items()}
    write_peft_folder(temporary, settings, save(named))
    for file in temporary.iterdir():
        durable.sync(file)
    durable.replace_folder(temporary, target)
    return target
