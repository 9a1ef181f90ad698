# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Plug-ins by name: in the tree with a decorator, outside it as "path/to/file.py:attribute"."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from verl.errors import ConfigError

T = TypeVar("T")


def nearest(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` when one of `known` resembles `word`, else an empty string."""
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def load_attribute(location: str, *, default: str | None = None) -> Any:
    """The object that "path/to/file.py:name" points to. `default` is the name when none is given.

    Raises ConfigError when the file does not exist or has no such attribute. Whatever the file raises while it is
    imported comes through unchanged: it is the user's own traceback.
    """
    file, _, name = location.partition(".py:")
    path = Path(file + ".py" if name or not file.endswith(".py") else file).expanduser().resolve()
    name = name or default or ""
    if not name:
        raise ConfigError(f"{location!r} names no attribute; write path/to/file.py:name")
    if not path.is_file():
        raise ConfigError(f"{location!r}: there is no file {path}")
    module = _import_file(path)
    if not hasattr(module, name):
        raise ConfigError(f"{path} defines no {name!r}{nearest(name, vars(module))}")
    return getattr(module, name)


def is_built_in(plug_in: Callable[..., Any]) -> bool:
    """Whether a function is one of this package, which tells all about itself, and not of a user's file."""
    return plug_in.__module__.partition(".")[0] == __package__


def _import_file(path: Path) -> ModuleType:
    name = f"verl_plugin_{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def import_siblings(package: str, ending: str = "") -> None:
    """Import every module of a package whose name ends so, for each to register itself."""
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if info.name.endswith(ending):
            importlib.import_module(f"{package}.{info.name}")


class Registry(Generic[T]):
    """Names to objects of one kind. A misspelt name answers with the nearest known one."""

    def __init__(self, kind: str, package: str | None = None, ending: str = "") -> None:
        self.kind = kind
        self._package = package  # its modules with that ending are plug-ins, imported at the first look-up
        self._ending = ending
        self._entries: dict[str, T] = {}
        self._loading = threading.RLock()

    def register(self, *names: str) -> Callable[[T], T]:
        """Decorator that files an object under one or more names."""

        def add(entry: T) -> T:
            for name in names:
                if name in self._entries and self._entries[name] is not entry:
                    raise ConfigError(f"{self.kind} {name!r} is registered twice")
                self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        self._load()
        if name not in self._entries:
            known = ", ".join(sorted(self._entries))
            raise ConfigError(f"unknown {self.kind} {name!r}{nearest(name, self._entries)} (known: {known})")
        return self._entries[name]

    def __contains__(self, name: str) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._entries))

    def resolve(self, name: str) -> T:
        """A registered name, or "file.py:attribute" for one defined outside the package."""
        return load_attribute(name) if ".py" in name else self[name]

    def _load(self) -> None:
        with self._loading:  # other threads wait until every plug-in is there
            if self._package is not None:
                package, self._package = self._package, None
                import_siblings(package, self._ending)
