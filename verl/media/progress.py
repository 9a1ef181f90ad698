# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One line on how far a build has come, and how long the rest will take."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

LOG_SECONDS = 10.0  # between lines when nobody is watching


class Progress:
    """Clips done, clips per second, time left. Time goes by cost, not by clips: the dear ones come first."""

    def __init__(self, clips: int, cost: int, *, shown: bool) -> None:
        self._clips = clips
        self._done = 0
        self._started = time.monotonic()
        self._bar = tqdm(
            total=cost,
            disable=not shown,
            mininterval=0.2 if sys.stderr.isatty() else LOG_SECONDS,
            bar_format="{percentage:3.0f}%{postfix}, {elapsed} gone, {remaining} left",
        )

    def __enter__(self) -> Progress:
        return self

    def advance(self, cost: int, *, failed: int) -> None:
        """A clip of this cost is finished; `failed` videos in all."""
        self._done += 1
        rate = self._done / max(time.monotonic() - self._started, 1e-9)
        self._bar.set_postfix_str(
            f"{self._done}/{self._clips} clips, {rate:.2f} clips/s, {failed} failed", refresh=False
        )
        self._bar.update(cost)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.refresh()
        self._bar.close()
