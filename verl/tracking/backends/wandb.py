# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verl.tracking.generations import Generation
from verl.tracking.tracker import TRACKERS, Run, third_party

_COLUMNS = ("step", "id", "problem", "response", "answer", "score")


@TRACKERS.register("wandb")
class Wandb:
    """One run per training. Resuming continues it; the service keeps the first value of a repeated step."""

    def __init__(self, run: Run) -> None:
        self._wandb: Any = third_party("wandb", "wandb", "wandb")
        self._run = run
        self._is_resumed = False
        self._opened: Any = None

    def resume(self, step: int) -> None:
        """See Tracker."""
        self._is_resumed = True

    def log(self, values: Mapping[str, float], step: int) -> None:
        """All metrics of the step."""
        self._open().log(dict(values), step=step)

    def generations(self, rows: Sequence[Generation], step: int) -> None:
        """A table of the samples."""
        cells = [[step, row.id, row.problem, row.response, row.answer, row.score] for row in rows]
        self._open().log({"val/generations": self._wandb.Table(columns=list(_COLUMNS), data=cells)}, step=step)

    def close(self) -> None:
        """See Tracker."""
        if self._opened is not None:
            self._opened.finish()

    def _open(self) -> Any:
        if self._opened is None:
            self._opened = self._wandb.init(
                project=self._run.project,
                name=self._run.experiment,
                config=dict(self._run.config),
                dir=str(self._run.directory),
                id=self._run_id(),
                resume="allow",
            )
        return self._opened

    def _run_id(self) -> str:
        """The id of the run to continue, or a new one, kept in the folder of the run."""
        path = self._run.directory / "wandb_run_id"
        if self._is_resumed and path.exists():
            return path.read_text(encoding="ascii").strip()
        new = str(self._wandb.util.generate_id())
        self._run.directory.mkdir(parents=True, exist_ok=True)
        path.write_text(new, encoding="ascii")
        return new
