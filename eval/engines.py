# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One engine that answers, and comes back when it dies or hangs."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import asdict, dataclass

from eval.item import EvalItem
from eval.pulse import Pulse
from verl.errors import WorkerError
from verl.rollout.engine import EngineStats, RolloutEngine, SamplingPlan
from verl.rollout.environment import engine_environment
from verl.rollout.options import EngineOptions
from verl.types import Prompt, Trajectory

LONGEST = 65_536  # tokens of prompt and response, unless a run says otherwise
SILENCE_SECONDS = 900.0  # without a token for any question: the engine hangs. A long prompt on a CPU takes minutes
ATTEMPTS = 3  # at one question, when the engine dies under it; the last beside no other that has seen it die twice
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The engine. Only `dtype` and `max_model_len` may change a response."""

    device: str = "cpu"
    dtype: str = "bfloat16"
    max_model_len: int = LONGEST
    max_num_seqs: int = 128
    max_num_batched_tokens: int = 8192
    tensor_parallel_size: int = 1
    gpu_memory_utilization: float = 0.85
    kv_cache_memory_mb: int | None = None
    enforce_eager: bool = False
    trust_remote_code: bool = False


class EngineLostError(WorkerError):
    """The engine died too often to go on."""


class Idleness:
    """How long the engine had nothing to do, from its first question to the last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running = 0
        self._since: float | None = None  # it has been idle
        self._first: float | None = None
        self._last = 0.0
        self.idle_seconds = 0.0

    @property
    def busy_seconds(self) -> float:
        """From the first question to the last answer, without the time nothing was asked."""
        return 0.0 if self._first is None else self._last - self._first - self.idle_seconds

    @asynccontextmanager
    async def question(self) -> AsyncIterator[None]:
        """Around everything that keeps the engine busy."""
        now = self._clock()
        self._first = now if self._first is None else self._first
        if self._running == 0 and self._since is not None:
            self.idle_seconds += now - self._since
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._last = self._since = self._clock()


class Answerer:
    """Questions in, trajectories out. An engine that dies is started again, and what it was asked is asked again.

    One that gives no token to any question for `silence_seconds` counts as dead. With 0 that is waited for.
    """

    def __init__(
        self,
        open_engine: Callable[[], RolloutEngine],
        plan: SamplingPlan,
        max_deaths: int = 5,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._open_engine = open_engine
        self.plan = plan
        self._max_deaths = max_deaths
        self._silence_seconds = silence_seconds
        self._engine: Pulse | None = None
        self._changing = asyncio.Lock()  # the engine
        self._suspects = asyncio.Lock()
        self._stats = EngineStats()
        self.deaths = 0
        self._deaths_in_a_row = 0  # without an answer between them
        self.idleness = Idleness()

    async def start(self) -> None:
        """Load the model, unless it is loaded. Blocks the event loop. Raises EngineLostError."""
        async with self._changing:
            if self._engine is None:
                await self._open()

    async def _open(self) -> None:
        engine = self._open_engine()
        try:
            await engine.start()
        except WorkerError as error:
            raise EngineLostError(str(error)) from error
        self._engine = Pulse(engine, self._silence_seconds)

    async def answer(self, prompt: Prompt, number: int) -> Trajectory:
        """One response. Raises WorkerError after the engine has died of this question again and again."""
        for attempt in range(1, ATTEMPTS + 1):
            shared: AbstractAsyncContextManager[object] = nullcontext()
            async with self._suspects if attempt == ATTEMPTS else shared:
                found = await self._asked(prompt, number, self.plan)
            if isinstance(found, Trajectory):
                return found
            log.warning("%s: the engine died or hung at it, or beside it: %s", prompt.record.where, found)
        raise WorkerError(f"the engine died or hung {ATTEMPTS} times while answering this question; see its log")

    async def read(self, prompt: Prompt, number: int) -> None:
        """Have the engine work through the prompt, so that others that begin likewise need not be."""
        await self._asked(prompt, number, self.plan.override({"max_tokens": 1}))

    async def _asked(self, prompt: Prompt, number: int, plan: SamplingPlan) -> Trajectory | WorkerError:
        """The response, or how the engine died, when there is another by now."""
        async with self._changing:  # not while another is being started
            pulse = self._running()
        try:
            async with self.idleness.question():
                row = await pulse.during(_first(pulse.engine.generate_group(prompt, number, plan)))
        except WorkerError as error:
            if not await self._revived(pulse):
                raise
            return error
        self._deaths_in_a_row = 0
        return row

    async def _revived(self, broken: Pulse) -> bool:
        """Whether `broken` was dead, or hung, and another engine stands in its place. Raises EngineLostError."""
        async with self._changing:
            if self._engine is not broken:
                return True
            try:
                await broken.check()
                return False
            except WorkerError as error:
                cause = error
                self.deaths += 1
                self._deaths_in_a_row += 1
            if self._deaths_in_a_row > self._max_deaths:
                raise EngineLostError(
                    f"the engine died or hung {self._deaths_in_a_row} times and answered nothing in between; what is"
                    " answered is kept, see the log"
                )
            log.warning("the engine is dead; starting another one (death %d): %s", self.deaths, cause)
            await self.close()
            await self._open()
            return True

    async def stats(self) -> EngineStats:
        """Work done so far by the engine that runs now."""
        self._stats += await self._running().engine.drain_stats()
        return self._stats

    async def close(self) -> None:
        """Stop the engine's processes."""
        pulse, self._engine = self._engine, None
        if pulse is not None:
            await pulse.engine.close()

    def _running(self) -> Pulse:
        if self._engine is None:
            raise EngineLostError("the engine is not running; call start() first")
        return self._engine


async def _first(rows: AsyncIterator[Trajectory]) -> Trajectory:
    """The only row; asking for another lets the generator end."""
    found = [row async for row in rows]
    return found[0]


def open_engine(model: str, engine: EngineSettings, items: Sequence[EvalItem]) -> RolloutEngine:
    """One engine for all of `items`, yet to be started."""
    threads = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count() or 1)
    os.environ |= engine_environment(engine.device, num_threads=int(threads.partition(",")[0]))
    from verl.rollout.server import VllmServer  # reads its environment at import

    videos = max((sum(one.kind == "video" for one in item.media) for item in items), default=0)
    images = max((sum(one.kind == "image" for one in item.media) for item in items), default=0)
    options = EngineOptions(
        model_path=model,
        weight_transfer="shm" if engine.device == "cpu" else "nccl",  # never used
        colocated=False,
        max_videos=max(videos, int(not images)),
        max_images=images,
        **asdict(engine),
    )
    return VllmServer(options)
