# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The weights of a model folder, one at a time, under the names and in the shapes that they have in memory.

Which stored tensors become which weights is transformers' own table, the one that `from_pretrained` reads.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key
from transformers.modeling_utils import str_to_torch_dtype
from transformers.utils.loading_report import LoadStateDictInfo

from verl.errors import ConfigError

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
MAX_NAMED = 5  # tensors that a message names

Read: TypeAlias = Callable[[str], Tensor]  # a stored tensor by its stored name


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What some stored tensors become: `first`, and whatever else `converter` makes of them."""

    first: str
    converter: WeightConverter | None
    parts: list[tuple[str, str]]  # the converter's pattern for it, stored name


class PretrainedWeights:
    """Whole weights of the folder, for `model`, which is on the meta device and may be changed afterwards.

    Opening reads headers only, `read` one weight. Raises ConfigError for files that are absent or damaged, and, with
    their names, for weights that only one of folder and model has, or that differ in shape; of `optional` either may
    lack any.
    """

    def __init__(self, folder: str | Path, model: PreTrainedModel, optional: Collection[str] = ()) -> None:
        self._config = model.config
        self._stored = _open(Path(folder))
        kept = model.state_dict(keep_vars=True)
        # Conversions look shapes up here.
        self._shapes = _Shapes({name: torch.empty_like(value, device="meta") for name, value in kept.items()})
        recipes, unknown = _recipes(model, self._shapes.tensors, self._stored)
        made = {name: (recipe, value) for recipe in recipes for name, value in self._made(recipe, self._header).items()}
        self._recipes = {name: recipe for name, (recipe, _) in made.items()}
        self.dtypes = {name: value.dtype for name, (_, value) in made.items()}  # as stored, by name in memory
        self._names = dict(_tied(kept, self._recipes))
        self._ready: dict[str, Tensor] = {}
        lacking = {names[0] for names in _shared(kept) if not set(names) & self._recipes.keys()} - set(optional)
        found = {name: value.shape for name, (_, value) in made.items()}
        self._check(folder, model, _Differences(lacking, unknown - set(optional), found))
        self._check_tied(folder, kept)

    def read(self, name: str) -> Tensor:
        """The weight of that name, or of another that is tied to it, as it is stored, in host memory."""
        name = self._names.get(name, name)
        if name not in self._ready:
            self._ready |= self._made(self._recipes[name], self._load)
        return self._ready.pop(name)

    def dtype(self, name: str) -> torch.dtype:
        """What `read` would give it in."""
        return self.dtypes[self._names.get(name, name)]

    @property
    def names(self) -> set[str]:
        """All that can be read."""
        return self._recipes.keys() | self._names.keys()

    def _made(self, recipe: _Recipe, read: Read) -> dict[str, Tensor]:
        if recipe.converter is None:
            return {recipe.first: read(recipe.parts[0][1])}
        converter: Any = copy.deepcopy(recipe.converter)
        for pattern, stored in recipe.parts:
            converter.add_tensor(recipe.first, stored, pattern, partial(read, stored))
        made: dict[str, Any] = converter.convert(recipe.first, model=self._shapes, config=self._config)
        return {name: value[0] if isinstance(value, list) else value for name, value in made.items()}

    def _header(self, stored: str) -> Tensor:
        found = self._stored[stored].get_slice(stored)
        return torch.empty(found.get_shape(), dtype=str_to_torch_dtype[found.get_dtype()], device="meta")

    def _load(self, stored: str) -> Tensor:
        try:
            return self._stored[stored].get_tensor(stored)
        except (SafetensorError, OSError) as error:
            raise ConfigError(f"weight {stored} of {self._config.name_or_path!r} cannot be read: {error}") from error

    def _check(self, folder: str | Path, model: PreTrainedModel, found: _Differences) -> None:
        wanted = {name: value.shape for name, value in self._shapes.tensors.items()}
        problems = list(found.problems(model, wanted))
        if problems:
            raise ConfigError(
                f"the weights in {folder} are not those of {type(model).__name__}: {'; '.join(problems)}."
                " Are config.json, override_config and weights of the same model?"
            )

    def _check_tied(self, folder: str | Path, kept: Mapping[str, Tensor]) -> None:
        """Some folders hold a tied weight twice."""
        for names in _shared(kept):
            first, *others = [name for name in names if name in self._recipes] or [""]
            if others and any(not torch.equal(self.read(first), self.read(other)) for other in others):
                raise ConfigError(
                    f"{folder} has different values for {first} and {others[0]}, which its config.json ties; set"
                    " tie_word_embeddings=false in override_config"
                )


@dataclass(frozen=True, slots=True)
class _Shapes:
    """The part of a model that conversions ask for."""

    tensors: Mapping[str, Tensor]  # on the meta device

    def get_parameter(self, name: str) -> Tensor:
        """Its shape is what is asked for."""
        return self.tensors[name]


@dataclass(frozen=True, slots=True)
class _Differences:
    """Between a folder and a model."""

    lacking: set[str]  # names in memory
    unknown: set[str]  # stored names
    shapes: Mapping[str, torch.Size]  # of what the folder gives

    def problems(self, model: PreTrainedModel, wanted: Mapping[str, torch.Size]) -> Iterator[str]:
        """In words. What transformers leaves out knowingly, such as layers that predict further tokens, is none."""
        info = LoadStateDictInfo(
            missing_keys=set(),
            unexpected_keys=set(self.unknown),
            mismatched_keys=set(),
            error_msgs=[],
            conversion_errors={},
            skipped_pp_keys=set(),
        )
        model._adjust_missing_and_unexpected_keys(info)
        wrong = [
            f"{name} {list(shape)} instead of {list(wanted[name])}"
            for name, shape in self.shapes.items()
            if shape != wanted[name]
        ]
        for what, names in (("lacks", self.lacking), ("has no place for", info.unexpected_keys), ("has", wrong)):
            if names:
                subject = "the model" if names is info.unexpected_keys else "the folder"
                more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
                yield f"{subject} {what} {', '.join(sorted(names)[:MAX_NAMED])}{more}"


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder. Raises ConfigError when there are none, or not all of them."""
    names = [SINGLE]
    if (folder / INDEX).is_file():
        try:
            names = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"{folder / INDEX} is damaged ({error!r}); download it again") from error
    elif not (folder / SINGLE).is_file():
        raise ConfigError(
            f"{folder} holds neither {SINGLE} nor {INDEX}; save it with save_pretrained: other formats are not read"
        )
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise ConfigError(f"{folder} lacks {', '.join(absent)}, {len(absent)} of its {len(names)} weight files")
    return [folder / name for name in names]


def _open(folder: Path) -> dict[str, Any]:
    """Stored name -> the open file that holds it. Files are read, not mapped: a network disk is slow page by page."""
    found: dict[str, Any] = {}
    for file in weight_files(folder):
        try:
            handle = safe_open(file, framework="pt", backend="pread")
        except (SafetensorError, OSError) as error:
            raise ConfigError(f"{file} is damaged ({error}); download it again") from error
        found |= dict.fromkeys(handle.keys(), handle)
    return found


def _recipes(
    model: PreTrainedModel, wanted: Mapping[str, Tensor], stored: Iterable[str]
) -> tuple[list[_Recipe], set[str]]:
    """How stored tensors become weights, and those that become none."""
    changes = get_model_conversion_mapping(model)
    renamings = [change for change in changes if isinstance(change, WeightRenaming)]
    converters = [change for change in changes if isinstance(change, WeightConverter)]
    by_pattern = {pattern: converter for converter in converters for pattern in converter.source_patterns}
    found: dict[str, _Recipe] = {}
    unknown: set[str] = set()
    for name in sorted(stored, key=dot_natural_key):
        target, pattern = rename_source_key(name, renamings, converters, model.base_model_prefix, dict(wanted))
        if target not in wanted and name in wanted:  # stored as in memory already
            target, pattern = name, None
        known = found.get(target)
        if target not in wanted or (known and known.converter is None):
            unknown.add(name)
            continue
        recipe = found.setdefault(target, _Recipe(target, by_pattern.get(pattern or ""), []))
        recipe.parts.append((pattern or name, name))
    return list(found.values()), unknown


def _shared(kept: Mapping[str, Tensor]) -> list[list[str]]:
    """Names of each weight: several where it is tied."""
    names: dict[int, list[str]] = {}
    for name, value in kept.items():
        names.setdefault(id(value), []).append(name)
    return list(names.values())


def _tied(kept: Mapping[str, Tensor], stored: Collection[str]) -> Iterator[tuple[str, str]]:
    """(a name that is not stored, the name under which its weight is)."""
    for names in _shared(kept):
        held = [name for name in names if name in stored]
        yield from ((name, held[0]) for name in names if held and name not in stored)
