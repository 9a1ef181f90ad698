# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How far a run has come."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from types import TracebackType

from tqdm import tqdm

from eval.engines import Answerer
from eval.store import Outcome

LOG_SECONDS = 10.0  # between lines when nobody is watching
log = logging.getLogger(__name__)


class Progress:
    """Items done, items per second, time left, and how many failed."""

    def __init__(self, total: int) -> None:
        self._counts: Counter[str] = Counter()
        interval = 0.5 if sys.stderr.isatty() else LOG_SECONDS
        self._bar = tqdm(total=total, unit="item", mininterval=interval, dynamic_ncols=True)

    def advance(self, outcome: Outcome) -> None:
        """One item is settled."""
        self._counts["failed"] += outcome.failure is not None
        self._counts["truncated"] += outcome.truncated
        shown = {name: count for name, count in self._counts.items() if count}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()

    async def summary(self, answerer: Answerer) -> None:
        """Say how busy the engine was, and what it was spared."""
        idle, busy = answerer.idleness.idle_seconds, answerer.idleness.busy_seconds
        if idle + busy:
            share = 100 * idle / (idle + busy)
            log.info("the engine worked %.1f s and waited for input %.1f s (%.1f%%)", busy, idle, share)
            stats = await answerer.stats()
            cached = 100 * stats.cached_prompt_tokens / max(stats.prompt_tokens, 1)
            loads = stats.media_loads / max(stats.distinct_media, 1)
            log.info("%.0f%% of the prompt tokens were shared; %.2f loads per clip", cached, loads)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
