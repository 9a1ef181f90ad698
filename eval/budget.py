# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How many bytes of pixels may be on their way to the engine at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteBudget:
    """First come, first served. Whatever is larger than all of it waits until it is alone."""

    def __init__(self, num_bytes: int) -> None:
        self._limit = num_bytes
        self._held = 0
        self._changed = asyncio.Condition()
        self._turn = asyncio.Lock()

    @property
    def held(self) -> int:
        """Bytes taken now."""
        return self._held

    @asynccontextmanager
    async def take(self, num_bytes: int) -> AsyncIterator[None]:
        """Hold so many bytes inside."""
        async with self._turn, self._changed:
            await self._changed.wait_for(lambda: self._held == 0 or self._held + num_bytes <= self._limit)
            self._held += num_bytes
        try:
            yield
        finally:
            async with self._changed:
                self._held -= num_bytes
                self._changed.notify_all()
