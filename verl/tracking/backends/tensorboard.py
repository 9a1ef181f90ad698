# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""TensorBoard event files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from verl.tracking.generations import Generation
from verl.tracking.tracker import TRACKERS, Run, third_party


@TRACKERS.register("tensorboard")
class TensorBoard:
    """Writes to TENSORBOARD_DIR, or to `tensorboard` in the folder of the run."""

    def __init__(self, run: Run) -> None:
        third_party("tensorboard", "tensorboard", "tensorboard")
        self._run = run
        self._directory = os.environ.get("TENSORBOARD_DIR") or str(run.directory / "tensorboard")
        self._purge_step: int | None = None  # earlier events of this step and later ones are hidden
        self._opened: Any = None

    def resume(self, step: int) -> None:
        """See Tracker."""
        self._purge_step = step + 1

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A scalar per metric."""
        for name, value in values.items():
            self._writer().add_scalar(name, value, step)
        self._writer().flush()

    def generations(self, rows: Sequence[Generation], step: int) -> None:
        """A text per sample."""
        for row in rows:
            text = f"**{row.problem}**\n\n{row.response}\n\nanswer {row.answer}, score {row.score}"
            self._writer().add_text(f"generations/{row.id}", text, step)

    def close(self) -> None:
        """See Tracker."""
        if self._opened is not None:
            self._opened.close()

    def _writer(self) -> Any:
        if self._opened is None:
            writer = third_party("torch.utils.tensorboard", "tensorboard", "tensorboard").SummaryWriter
            self._opened = writer(self._directory, purge_step=self._purge_step)
            self._opened.add_text("config", f"    {self._run.config}")
        return self._opened
