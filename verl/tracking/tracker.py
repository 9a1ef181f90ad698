# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Where metrics and samples go: every backend gets all of them.

A resumed run repeats the steps after its checkpoint. Whoever looks at a curve wants one value per step, so a
backend that can forget the earlier values of those steps does so in `resume`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeAlias

from verl.errors import ConfigError
from verl.registry import Registry
from verl.tracking.generations import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is being tracked."""

    project: str
    experiment: str
    directory: Path  # for what a backend writes itself
    config: Mapping[str, Any]  # JSON values


class Tracker(Protocol):
    """A backend. Nothing is opened before the first call, so that `resume` can come first."""

    def resume(self, step: int) -> None:
        """Go on after `step`; whatever was logged for later steps no longer counts."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of a step. A later call for the same step adds to it."""

    def generations(self, rows: Sequence[Generation], step: int) -> None:
        """Samples of a validation."""

    def close(self) -> None:
        """Write out what is buffered."""


Opener: TypeAlias = Callable[[Run], Tracker]
TRACKERS: Registry[Opener] = Registry("logger", "verl.tracking.backends")


class Trackers:
    """Several backends as one."""

    def __init__(self, backends: Sequence[Tracker]) -> None:
        self._backends = tuple(backends)

    def resume(self, step: int) -> None:
        """See Tracker."""
        for backend in self._backends:
            backend.resume(step)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See Tracker."""
        for backend in self._backends:
            backend.log(values, step)

    def generations(self, rows: Sequence[Generation], step: int) -> None:
        """See Tracker. No rows, no call."""
        for backend in self._backends if rows else ():
            backend.generations(rows, step)

    def close(self) -> None:
        """See Tracker."""
        for backend in self._backends:
            backend.close()


def open_trackers(names: Sequence[str], run: Run) -> Trackers:
    """Backends by name, or "file.py:attribute". Raises ConfigError for unknown or not installed ones."""
    return Trackers([TRACKERS.resolve(name)(run) for name in names])


def third_party(module: str, logger: str, package: str) -> ModuleType:
    """The library behind a backend. Raises ConfigError that says how to get it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        advice = f"pip install {package}, or take {logger!r} out of trainer.logger"
        raise ConfigError(f"trainer.logger: {logger!r} needs {package}, which is not installed; {advice}") from error
