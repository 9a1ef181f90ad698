# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A process that serves one engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from verl.rollout.engine import Ask, EngineStats, SamplingPlan, Slept
from verl.rollout.options import EngineOptions
from verl.types import Floats, Prompt, Source, Tokens, Trajectory
from verl.workers.process import configure_logging

HEALTH_CHECK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """A trajectory without its prompt, which the receiver has."""

    group: int
    index: int
    response_ids: Tokens
    rollout_logprobs: Floats
    text: str
    truncated: bool
    source: Source
    weight_version: int

    @classmethod
    def of(cls, row: Trajectory) -> Generated:
        """What is new in `row`."""
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})

    def attach(self, prompt: Prompt) -> Trajectory:
        """The trajectory again; siblings then share one prompt."""
        return Trajectory(prompt=prompt, **{name: getattr(self, name) for name in self.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class _Plan:
    """Responses of one kind to one prompt."""

    sampling: SamplingPlan
    first: int  # index of the first of them
    source: Source


def _plans(plan: SamplingPlan, ask: Ask) -> list[_Plan]:
    sampled = _Plan(replace(plan, n=ask.n), 0, Source.POLICY)
    return [sampled, _Plan(plan.greedy(), plan.n, Source.GREEDY)] if ask.greedy else [sampled]


class RolloutWorker:
    """Ray async actor around one `VllmServer`. vLLM's weight-sync client calls the methods named as it wants them."""

    def __init__(self, options: EngineOptions, rank: int) -> None:
        configure_logging(f"rollout {rank}")
        from verl.rollout import vllm_engine  # noqa: F401 - seconds of imports, while the policy is built
        from verl.rollout.server import VllmServer

        self._server = VllmServer(options, rank)

    async def start(self) -> None:
        """Load the model."""
        await self._server.start()

    async def generate(
        self, prompts: Sequence[tuple[int, Prompt, Ask]], plan: SamplingPlan
    ) -> AsyncIterator[Generated]:
        """Responses to all (group, prompt, what it gets), each as soon as it is finished."""
        finished: asyncio.Queue[Generated | BaseException | None] = asyncio.Queue()
        tasks = [
            asyncio.create_task(self._answer(group, prompt, one, finished))
            for group, prompt, ask in prompts
            for one in _plans(plan, ask)
        ]
        running = len(tasks)
        try:
            while running:
                item = await finished.get()
                if item is None:
                    running -= 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield item
        finally:
            for task in tasks:
                task.cancel()

    async def _answer(self, group: int, prompt: Prompt, plan: _Plan, finished: asyncio.Queue[Any]) -> None:
        try:
            async for row in self._server.generate_group(prompt, group, plan.sampling):
                generated = Generated.of(row)
                await finished.put(replace(generated, index=plan.first + row.index, source=plan.source))
            await finished.put(None)
        except Exception as error:  # noqa: BLE001 - the process boundary: it is raised again by `generate`
            await finished.put(error)

    async def sleep(self) -> Slept | None:
        """Give the devices to the trainer."""
        return await self._server.sleep()

    async def wake_weights(self) -> None:
        """Make room for weights."""
        await self._server.wake_weights()

    async def wake_cache(self) -> None:
        """Generate again."""
        await self._server.wake_cache()

    async def drain_stats(self) -> EngineStats:
        """Work done since the last call."""
        return await self._server.drain_stats()

    async def init_weight_transfer_engine(self, request: Any) -> None:
        """vLLM's weight-transfer API."""
        await self._server.init_weight_transfer_engine(request)

    async def start_weight_update(self) -> None:
        """vLLM's weight-transfer API."""
        await self._server.start_weight_update()

    async def update_weights(self, request: Any) -> None:
        """vLLM's weight-transfer API."""
        await self._server.update_weights(request)

    async def finish_weight_update(self) -> None:
        """vLLM's weight-transfer API."""
        await self._server.finish_weight_update()

    async def update_weight_version(self, version: str) -> None:
        """vLLM's weight-transfer API."""
        await self._server.update_weight_version(version)

    async def load_adapter(self, settings: dict[str, Any], weights: bytes) -> None:
        """Adapters in place of weights."""
        await self._server.load_adapter(settings, weights)

    async def watch(self) -> None:
        """Return only by raising, when the engine is dead."""
        while True:
            await self._server.check()
            await asyncio.sleep(HEALTH_CHECK_SECONDS)

    async def close(self) -> None:
        """Stop the engine's processes."""
        await self._server.close()
