# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Tells an engine that hangs from one that has much to do: the latter gives some question a token now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from verl.errors import WorkerError
from verl.rollout.engine import RolloutEngine

T = TypeVar("T")
LOOKS = 8  # at the engine, in the time that it may be silent


class Pulse:
    """One engine, and when it last gave a token."""

    def __init__(
        self, engine: RolloutEngine, silence_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.engine = engine
        self._limit = silence_seconds  # 0: for ever
        self._clock = clock
        self._waiting = 0  # questions
        self._tokens = 0
        self._since = 0.0  # there has been none
        self._hangs = False

    async def during(self, asking: Coroutine[Any, Any, T]) -> T:
        """What `asking` gives. Raises WorkerError when the engine falls silent meanwhile, and cancels it then."""
        if not self._limit:
            return await asking
        if not self._waiting:
            self._since = self._clock()
        self._waiting += 1
        task = asyncio.ensure_future(asking)
        try:
            while not (await asyncio.wait((task,), timeout=self._limit / LOOKS))[0]:
                await self._listen()
            return await task
        finally:
            self._waiting -= 1
            task.cancel()

    async def check(self) -> None:
        """Raise WorkerError when the engine is dead, or was found to hang."""
        if self._hangs:
            raise WorkerError(
                f"the engine gave no token for {self._limit:g} seconds while {self._waiting} questions waited; if it is"
                " that slow, raise --silence_timeout"
            )
        await self.engine.check()

    async def _listen(self) -> None:
        tokens, now = await self.engine.tokens_made(), self._clock()
        if tokens != self._tokens:
            self._tokens, self._since = tokens, now
        self._hangs = self._hangs or now - self._since >= self._limit
        await self.check()
