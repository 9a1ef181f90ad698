# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How a configuration key is declared, and how all of them are listed."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def key(default: T, meaning: str) -> T:
    """A key with its default and what it means, unit included. The declaration is its only documentation."""
    return dataclasses.field(default=default, metadata={"meaning": meaning})


def free(meaning: str) -> dict[str, Any]:
    """A key that holds a mapping of the user's own; empty by default."""
    return dataclasses.field(default_factory=dict, metadata={"meaning": meaning})


def section(kind: type[T]) -> T:
    """A group of keys, all at their defaults."""
    return dataclasses.field(default_factory=kind)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One leaf of the configuration."""

    path: str  # "worker.rollout.n"
    type: Any
    default: Any
    meaning: str

    @property
    def is_free(self) -> bool:
        """Whether the value is a mapping whose keys are the user's own."""
        return get_origin(self.type) is dict

    @property
    def is_sequence(self) -> bool:
        """Whether the value is a list."""
        return get_origin(self.type) is tuple

    @property
    def is_text(self) -> bool:
        """Whether the value is a string, or null."""
        return self.type is str or self.type == (str | None)

    @property
    def type_name(self) -> str:
        """The type as a reader would say it: "float", "list of str", "pyav | decord", "int | null"."""
        return _type_name(self.type)


def list_keys(kind: type, prefix: str = "") -> Iterator[Key]:
    """Every leaf of a configuration class, in declaration order."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        path, hint = f"{prefix}{field.name}", hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from list_keys(hint, f"{path}.")  # type: ignore[arg-type]
            continue
        default = {} if field.default_factory is dict else field.default
        yield Key(path=path, type=hint, default=default, meaning=field.metadata["meaning"])


def list_sections(kind: type, prefix: str = "") -> Iterator[str]:
    """The path of every group of keys."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            yield f"{prefix}{field.name}"
            yield from list_sections(hints[field.name], f"{prefix}{field.name}.")


def _type_name(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " | ".join(map(str, args))
    if origin in (Union, types.UnionType):
        return " | ".join(_type_name(arg) for arg in args)
    if origin is tuple:
        count = "" if Ellipsis in args else f"{len(args)} "
        return f"list of {count}{_type_name(args[0])}"
    if origin is dict:
        return "mapping"
    return "null" if hint is type(None) else str(hint.__name__)


def read(config: Any, path: str) -> Any:
    """The value at a dotted path."""
    for name in path.split("."):
        config = getattr(config, name)
    return config
