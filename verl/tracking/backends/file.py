# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics and samples as JSON lines beside the checkpoints, and the configuration as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from verl.tracking.generations import Generation
from verl.tracking.tracker import TRACKERS, Run


@TRACKERS.register("file")
class File:
    """`experiment_log.jsonl`, `generations.jsonl` and `experiment_config.json` in the folder of the run.

    Resuming at step s removes the rows of later steps. A run that starts anew leaves an earlier
    log as `*.old`. Numbers that are not finite become null.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._files: dict[str, TextIO] = {}
        self._kept_step: int | None = None  # rows up to this step are kept when the files are opened

    def resume(self, step: int) -> None:
        """See Tracker."""
        self._kept_step = step

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A line of `step` and every metric under its own name."""
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._append("experiment_log.jsonl", [{"step": step, **finite}])

    def generations(self, rows: Sequence[Generation], step: int) -> None:
        """A line per sample."""
        self._append("generations.jsonl", [{"step": step, **asdict(row)} for row in rows])

    def close(self) -> None:
        """See Tracker."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        if not self._files:
            self._open()
        file = self._files[name]
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        file.flush()

    def _open(self) -> None:
        directory = self._run.directory
        directory.mkdir(parents=True, exist_ok=True)
        config = json.dumps(self._run.config, indent=2, ensure_ascii=False) + "\n"
        (directory / "experiment_config.json").write_text(config, encoding="utf-8")
        for name in ("experiment_log.jsonl", "generations.jsonl"):
            path = directory / name
            if self._kept_step is not None:
                keep_steps(path, self._kept_step)
            elif path.exists():
                path.replace(path.with_name(f"{name}.old"))
            self._files[name] = path.open("a", encoding="utf-8")
        self._kept_step = None


def keep_steps(path: Path, last: int) -> None:
    """Remove the rows of steps after `last`, and a line that a killed process left unfinished."""
    if not path.exists():
        return
    kept = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if _is_kept(line, last)]
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.replace(path)


def _is_kept(line: str, last: int) -> bool:
    return line.endswith("\n") and json.loads(line)["step"] <= last
