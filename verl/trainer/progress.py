# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Where a run is: steps done, reward, and where the time goes. A moving bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

SHOWN = {
    "val/reward_score": "val",
    "reward/overall": "reward",
    "timing_s/step": "s/step",
    "timing_s/gen": "gen",
    "timing_s/old": "old",
    "timing_s/update_actor": "update",
    "timing_s/sync": "sync",
}


class Progress:
    """Writes to standard error; silent when disabled."""

    def __init__(self, total_steps: int, enabled: bool) -> None:
        self._total = total_steps
        self._enabled = enabled
        self._bar: tqdm[Any] | None = None
        self._shown: dict[str, str] = {}

    def start(self, step: int) -> None:
        """Begin, with `step` steps already done."""
        if self._enabled and sys.stderr.isatty():
            self._bar = tqdm(total=self._total, initial=step, desc="train", unit="step", file=sys.stderr)

    def note(self, step: int, numbers: Mapping[str, float]) -> None:
        """A step is done, with these metrics."""
        self._shown |= {name: f"{numbers[key]:.3g}" for key, name in SHOWN.items() if key in numbers}
        if self._bar is not None:
            self._bar.n = step
            self._bar.set_postfix(self._shown, refresh=True)
        elif self._enabled:
            told = "  ".join(f"{name} {value}" for name, value in self._shown.items())
            sys.stderr.write(f"step {step}/{self._total}  {told}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Leave the last line standing."""
        if self._bar is not None:
            self._bar.close()
