# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Frames for the requests that are being made, read once for all who want them at the time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from verl.media.source import load as load_clip
from verl.types import MediaClip, MediaRef


class ClipPool:
    """Clips by cache key, held while anyone wants them. Threads read them, so that generation goes on meanwhile."""

    def __init__(self, load: Callable[[MediaRef], MediaClip] = load_clip) -> None:
        self._load = load
        self._clips: dict[str, asyncio.Task[MediaClip]] = {}
        self._wanted: Counter[str] = Counter()
        self._loads: Counter[str] = Counter()  # since the last `drain`

    def want(self, refs: Iterable[MediaRef]) -> None:
        """Announce that clips will be loaded; hold them from their first load until the last `release`."""
        self._wanted.update(ref.key for ref in refs)

    def release(self, refs: Iterable[MediaRef]) -> None:
        """Take back one `want`. Frames in use stay with their users."""
        for ref in refs:
            self._wanted[ref.key] -= 1
            if not self._wanted[ref.key]:
                del self._wanted[ref.key]
                self._clips.pop(ref.key, None)

    async def load(self, ref: MediaRef) -> MediaClip:
        """A wanted clip; whoever asks while another is reading it waits for that. Raises MediaError."""
        if ref.key not in self._clips:
            self._loads[ref.key] += 1
            self._clips[ref.key] = asyncio.create_task(asyncio.to_thread(self._load, ref))
        return await asyncio.shield(self._clips[ref.key])

    def drain(self) -> tuple[int, int]:
        """Number of loads and of distinct clips since the last call."""
        counts = self._loads.total(), len(self._loads)
        self._loads.clear()
        return counts
