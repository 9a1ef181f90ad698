# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One vLLM engine behind the `RolloutEngine` protocol. Plain asyncio: whoever wants it elsewhere wraps it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from verl.errors import DataError, WorkerError
from verl.models.low_rank import write_peft_folder
from verl.rollout.clips import ClipPool
from verl.rollout.engine import Completion, EngineStats, SamplingPlan, Slept
from verl.rollout.options import EngineOptions
from verl.rollout.requests import build_request, check_expansion, sampling_arguments
from verl.types import Prompt, Trajectory

if TYPE_CHECKING:
    from verl.rollout.vllm_engine import Engine

SLOTS_PER_SEQUENCE = 2  # requests ready while as many run: enough to keep the engine full, few enough to hold pixels


class Phase(Enum):
    """What an engine may be asked to do."""

    GENERATING = "generating"
    ASLEEP = "asleep"
    RECEIVING = "receiving weights"


def _open_vllm(options: EngineOptions) -> Engine:
    from verl.rollout.vllm_engine import Engine  # seconds of imports, wanted in an engine's process alone

    return Engine.open(options)


def _memory() -> str | None:
    """Where files take no disk, if there is such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


class VllmServer:
    """A `RolloutEngine`. The names of the weight methods are those that vLLM's weight-sync clients call."""

    def __init__(
        self,
        options: EngineOptions,
        index: int = 0,
        open_engine: Callable[[EngineOptions], Engine] = _open_vllm,
    ) -> None:
        self.options = options
        self.name = f"rollout server {index}"
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._phase = Phase.GENERATING
        self._clips = ClipPool()
        self._stats = EngineStats()
        self._tokens = 0  # of finished rows
        self._slots = asyncio.Semaphore(SLOTS_PER_SEQUENCE * options.max_num_seqs)
        self._rows: set[asyncio.Task[Trajectory]] = set()  # all that are not finished

    async def start(self) -> None:
        """See RolloutEngine. Blocks its event loop while the model loads."""
        try:
            self._engine = self._open_engine(self.options)
        except (RuntimeError, ValueError, OSError) as error:
            raise WorkerError(
                f"the vLLM engine of {self.name} did not start: {error}. The cause is above in the log; "
                f"most often memory for weights and one sequence of {self.options.max_model_len} tokens: "
                "change kv_cache_memory_mb, gpu_memory_utilization or max_model_len"
            ) from error
        await self.update_weight_version("0")

    # -- generation

    async def generate_group(self, prompt: Prompt, group: int, plan: SamplingPlan) -> AsyncIterator[Trajectory]:
        """See RolloutEngine. A failed row ends the group; rows nobody waits for any more are aborted.

        Raises DataError for a prompt that leaves no room for a response, AlignmentError when engine and
        trainer see different prompts, MediaError, and WorkerError when the engine fails.
        """
        self._expect(Phase.GENERATING, "generate")
        if len(prompt.ids) >= self.options.max_model_len:
            raise DataError(
                f"{prompt.record.where}: the prompt has {len(prompt.ids)} tokens, prompt and response may "
                f"have {self.options.max_model_len}; raise rollout.max_model_len or drop the row"
            )
        rows = [self._begin(prompt, group, i, plan) for i in range(plan.n)]
        try:
            for row in asyncio.as_completed(rows):
                yield await row
        finally:
            for task in rows:
                task.cancel()
            await asyncio.gather(*rows, return_exceptions=True)

    def _begin(self, prompt: Prompt, group: int, index: int, plan: SamplingPlan) -> asyncio.Task[Trajectory]:
        def end(row: asyncio.Task[Trajectory]) -> None:
            self._rows.discard(row)
            self._clips.release(prompt.media)

        row = asyncio.create_task(self._row(prompt, group, index, plan))
        row.add_done_callback(end)
        self._rows.add(row)
        self._clips.want(prompt.media)
        return row

    async def _row(self, prompt: Prompt, group: int, index: int, plan: SamplingPlan) -> Trajectory:
        async with self._slots:
            request = build_request(prompt, [await self._clips.load(ref) for ref in prompt.media])
            with self._watched(f"answering {prompt.record.where}"):
                arguments = sampling_arguments(plan, group, index)
                completion = await self._running().answer(request, arguments)
        self._check(prompt, completion)
        return Trajectory(
            prompt=prompt,
            group=group,
            index=index,
            response_ids=completion.ids,
            rollout_logprobs=completion.logprobs,
            text=self._running().decode(completion.ids, skip_special_tokens=plan.skip_special_tokens),
            truncated=completion.finish_reason == "length",
            weight_version=completion.weight_version,
        )

    def _check(self, prompt: Prompt, completion: Completion) -> None:
        if completion.finish_reason not in ("stop", "length"):
            raise WorkerError(f"{self.name} gave up on {prompt.record.where}: {completion.finish_reason}; see its log")
        check_expansion(prompt, completion.prompt_ids)
        self._tokens += len(completion.ids)
        self._stats += EngineStats(
            num_rows=1,
            prompt_tokens=len(prompt.ids),
            cached_prompt_tokens=completion.cached_prompt_tokens,
            response_tokens=len(completion.ids),
        )

    # -- phases

    async def sleep(self, *, keep_weights: bool = False) -> Slept | None:
        """See RolloutEngine."""
        self._expect(Phase.GENERATING, "sleep")
        self._phase = Phase.ASLEEP  # no new rows, while
        await asyncio.gather(*self._rows, return_exceptions=True)  # the ones under way need the caches
        gives_back = self._sleeps and self.options.device == "cuda"
        with self._watched("going to sleep"):
            before = await self._running().device_memory() if gives_back else 0
            if self._sleeps:
                stays = keep_weights or self.options.lora_rank > 0  # nobody sends what adapters belong to
                await self._running().sleep(level=1 if stays else 2, mode="wait")
            else:
                await self._running().pause_generation(mode="wait", clear_cache=True)
            return Slept(before=before, after=await self._running().device_memory()) if gives_back else None

    async def wake_weights(self) -> None:
        """See RolloutEngine."""
        self._expect(Phase.ASLEEP, "wake up")
        with self._watched("waking up"):
            if self._sleeps:
                await self._running().wake_up(["weights"])
        self._phase = Phase.RECEIVING

    async def wake_cache(self) -> None:
        """See RolloutEngine."""
        self._expect(Phase.RECEIVING, "make room for its cache")
        with self._watched("waking up"):
            if self._sleeps:
                await self._running().wake_up(["kv_cache"])
            else:
                await self._running().resume_generation()
        self._phase = Phase.GENERATING

    @property
    def _sleeps(self) -> bool:
        """On a CPU vLLM's sleep drops caches and frees nothing; on GPUs of its own an engine only pauses."""
        return self.options.colocated or self.options.device == "cpu"

    # -- weights

    async def init_weight_transfer_engine(self, request: Any) -> None:
        """Meet the sender. `request` is vLLM's WeightTransferInitRequest."""
        with self._watched("meeting the sender of weights"):
            await self._running().init_weight_transfer_engine(request)

    async def start_weight_update(self) -> None:
        """Begin to receive. Raises WorkerError when caches could outlive the old weights."""
        self._expect(Phase.RECEIVING, "receive weights")
        with self._watched("starting a weight update"):
            await self._running().start_weight_update()

    async def update_weights(self, request: Any) -> None:
        """Receive a bucket of tensors. `request` is vLLM's WeightTransferUpdateRequest."""
        with self._watched("receiving weights"):
            await self._running().update_weights(request)

    async def finish_weight_update(self) -> None:
        """Put the received weights to use."""
        with self._watched("finishing a weight update"):
            await self._running().finish_weight_update()

    async def update_weight_version(self, version: str) -> None:
        """Label what is generated from now on; `version` is a decimal number."""
        with self._watched("setting the weight version"):
            await self._running().update_weight_version(version)

    async def load_adapter(self, settings: dict[str, Any], weights: bytes) -> None:
        """Receive adapters in place of weights: adapter_config.json and adapter_model.safetensors of a peft folder."""
        self._expect(Phase.RECEIVING, "receive adapters")
        with self._watched("loading adapters"), TemporaryDirectory(prefix="verl-adapter-", dir=_memory()) as folder:
            write_peft_folder(Path(folder), settings, weights)
            await self._running().load_adapter(Path(folder))

    # -- health

    async def drain_stats(self) -> EngineStats:
        """See RolloutEngine."""
        loads, distinct = self._clips.drain()
        stats = self._stats + EngineStats(media_loads=loads, distinct_media=distinct)
        self._stats = EngineStats()
        return stats

    async def tokens_made(self) -> int:
        """See RolloutEngine."""
        return self._tokens + self._running().tokens_under_way

    async def check(self) -> None:
        """See RolloutEngine."""
        with self._watched("being asked for its health"):
            await self._running().check_health()

    async def close(self) -> None:
        """See RolloutEngine."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.shutdown()

    def _running(self) -> Engine:
        if self._engine is None:
            raise WorkerError(f"{self.name} is not running; call start() first, and nothing after close()")
        return self._engine

    def _expect(self, phase: Phase, what: str) -> None:
        if self._phase is not phase:
            raise WorkerError(
                f"{self.name} cannot {what} while it is {self._phase.value}; "
                "the order is generate, sleep, wake_weights, weights, wake_cache"
            )

    @contextmanager
    def _watched(self, doing: str) -> Iterator[None]:
        """The border to the engine's process: an error names the server and what it was doing."""
        try:
            yield
        except WorkerError:
            raise
        except Exception as error:
            if self._engine is not None and self._engine.errored:
                raise WorkerError(f"the vLLM engine of {self.name} died while {doing}; see its log") from error
            raise WorkerError(f"{self.name} failed while {doing}: {error}") from error
