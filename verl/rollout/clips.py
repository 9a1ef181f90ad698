# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Frames for the requests that are being made, read once for all who want them at the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from verl.media import source
from verl.types import MediaRef, VideoClip


class ClipPool:
    """Clips by cache key. Reading happens in threads, so that generation goes on meanwhile."""

    def __init__(self, load: Callable[[MediaRef], VideoClip] = source.load) -> None:
        self._load = load
        self._clips: dict[str, asyncio.Task[VideoClip]] = {}
        self._seen: set[str] = set()
        self.num_loads = 0  # since the last `drain`

    async def load(self, ref: MediaRef) -> VideoClip:
        """The clip; whoever asks while another is reading it waits for that. Raises MediaError."""
        if ref.key not in self._clips:
            self.num_loads += 1
            self._seen.add(ref.key)
            self._clips[ref.key] = asyncio.create_task(asyncio.to_thread(self._load, ref))
        return await asyncio.shield(self._clips[ref.key])

    def clear(self) -> None:
        """Forget all clips; frames in use stay with their users."""
        self._clips.clear()

    def drain(self) -> tuple[int, int]:
        """Number of loads and of distinct clips since the last call."""
        counts = self.num_loads, len(self._seen)
        self.num_loads = 0
        self._seen.clear()
        return counts
