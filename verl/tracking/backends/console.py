# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics on standard output, a line per group, clear of any progress bar."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from tqdm import tqdm

from verl.tracking.generations import Generation
from verl.tracking.tracker import TRACKERS, Run

_WIDTH = 120
_LABEL = 18


@TRACKERS.register("console")
class Console:
    """Writes and forgets."""

    def __init__(self, run: Run) -> None:
        self._name = f"{run.project}/{run.experiment}"

    def resume(self, step: int) -> None:
        """Says so."""
        tqdm.write(f"{self._name}: resumed after step {step}")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One line per metric group, wrapped."""
        tqdm.write("\n".join([f"step {step}", *table(values)]))

    def generations(self, rows: Sequence[Generation], step: int) -> None:
        """The samples, shortened to a few lines each."""
        for row in rows:
            score = "not scorable" if row.score is None else f"{row.score:.4g}"
            tqdm.write(f"step {step}  sample {row.id}  score {score}  answer {_short(row.answer)}")
            tqdm.write(f"  problem   {_short(row.problem)}\n  response  {_short(row.response)}")

    def close(self) -> None:
        """Nothing is buffered."""


def table(values: Mapping[str, float]) -> list[str]:
    """`{"actor/lr": 1e-6, "actor/pg_loss": 0.5}` -> `["  actor   lr 1e-06  pg_loss 0.5"]`."""
    groups: dict[str, list[str]] = {}
    for name in sorted(values):
        group, _, metric = name.partition("/")
        groups.setdefault(group, []).append(f"{metric or group}\N{NO-BREAK SPACE}{values[name]:.4g}")
    return [line for group, cells in groups.items() for line in _lines(group, cells)]


def _lines(group: str, cells: Sequence[str]) -> list[str]:
    wrapped = textwrap.wrap(
        "  ".join(cells),
        width=_WIDTH,
        initial_indent=f"  {group:<{_LABEL}}",
        subsequent_indent=" " * (_LABEL + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in wrapped]


def _short(text: str) -> str:
    return textwrap.shorten(text, 3 * _WIDTH, placeholder=" [...]")
