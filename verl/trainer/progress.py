# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One line that moves: steps done, reward, and where the time goes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

SHOWN = {
    "reward/overall": "reward",
    "val/reward_score": "val",
    "timing_s/gen": "gen",
    "timing_s/old": "old",
    "timing_s/update_actor": "update",
    "timing_s/sync": "sync",
}


class Progress:
    """A progress bar on standard error; silent when disabled."""

    def __init__(self, total_steps: int, enabled: bool) -> None:
        self._total = total_steps
        self._enabled = enabled
        self._bar: tqdm[Any] | None = None
        self._shown: dict[str, str] = {}

    def start(self, step: int) -> None:
        """Show the bar, `step` steps already done."""
        self._bar = tqdm(
            total=self._total,
            initial=step,
            desc="train",
            unit="step",
            disable=not self._enabled,
            file=sys.stderr,
        )

    def note(self, step: int, numbers: Mapping[str, float]) -> None:
        """A step is done, with these metrics."""
        self._shown |= {name: f"{numbers[key]:.3g}" for key, name in SHOWN.items() if key in numbers}
        if self._bar is not None:
            self._bar.n = step
            self._bar.set_postfix(self._shown, refresh=True)

    def close(self) -> None:
        """Leave the last line standing."""
        if self._bar is not None:
            self._bar.close()
