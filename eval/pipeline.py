# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Decode, load, generate, grade and write down, all at the same time.

The questions about one video stand together: its frames are loaded once and go through the vision tower once, and the
tokens before the question are computed once. A video that is still being decoded holds nobody up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from eval.benchmark import Benchmark
from eval.budget import ByteBudget
from eval.engines import Answerer, EngineLostError
from eval.grading import official_grade, robust_grade, sized
from eval.item import EvalItem, Grade
from eval.questions import Questions, Sight, digest, num_bytes
from eval.store import Journal, Outcome
from verl.errors import DataError, WorkerError
from verl.media.build import BuildOptions, build
from verl.media.cache import ClipCache
from verl.media.spec import source_id
from verl.types import Prompt, Trajectory, VideoSpec

Decoding: TypeAlias = tuple[Path, str, VideoSpec]  # cache, video and recipe
_Asked: TypeAlias = tuple[EvalItem, Prompt]
_Result = TypeVar("_Result")
WRITERS = 2  # threads that grade and write down
SILENCE = 16  # verdicts in a row that a judge may owe before it is left alone
log = logging.getLogger(__name__)


class Judging(Protocol):
    """Who decides where rules cannot."""

    @property
    def name(self) -> str:
        """What is written beside its verdicts."""

    def judge(self, benchmark: Benchmark, item: EvalItem, response: str) -> Grade | str:
        """A grade, or why there is none. Blocks; called from several threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRun:
    """One benchmark, and what of it is still to be asked."""

    questions: Questions
    items: tuple[EvalItem, ...]  # to be asked
    unjudged: tuple[tuple[EvalItem, Outcome], ...]  # answered, but not judged, or by another judge
    journal: Journal

    @property
    def benchmark(self) -> Benchmark:
        """What is asked."""
        return self.questions.benchmark


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may be under way."""

    pixel_bytes: int = 16 << 30  # of all prompts between loading and their answers
    videos: int = 64  # whose questions are being asked
    load_workers: int = 16  # threads that read clips and word prompts
    decode_workers: int = 8  # processes that fill the cache
    judge_workers: int = 8


@dataclass(frozen=True, slots=True)
class _Group:
    """The questions about one video."""

    run: BenchmarkRun
    items: tuple[EvalItem, ...]


@dataclass(slots=True)
class _Waiting:
    """Groups whose videos are not in the cache yet."""

    groups: dict[int, tuple[_Group, set[str]]] = field(default_factory=dict)  # with the keys they wait for

    def settle(self, key: str) -> list[_Group]:
        """Groups that need nothing more once `key` is there, or has failed."""
        freed = []
        for number, (group, keys) in list(self.groups.items()):
            keys.discard(key)
            if not keys:
                freed.append(group)
                del self.groups[number]
        return freed

    def rest(self) -> list[_Group]:
        """All that still wait."""
        left = [group for group, _ in self.groups.values()]
        self.groups.clear()
        return left


class Pipeline:
    """Asks everything of every run, once."""

    def __init__(
        self,
        answerer: Answerer,
        limits: Limits,
        judging: Judging | None = None,
        told: Callable[[Outcome], None] = lambda outcome: None,
    ) -> None:
        self._answerer = answerer
        self._limits = limits
        self._judging = judging
        self._told = told
        self._pixels = ByteBudget(limits.pixel_bytes)
        self._judges = ThreadPoolExecutor(limits.judge_workers, "judge")
        self._writers = ThreadPoolExecutor(WRITERS, "write")  # an answer does not queue behind what is to be asked yet
        self._tasks = asyncio.TaskGroup()  # of the whole run
        self._silence = 0  # verdicts in a row that could not be had
        self._number = 0

    async def run(self, runs: Sequence[BenchmarkRun]) -> None:
        """Answer, grade and write down. Raises StoreError, and EngineLostError when no engine stays alive."""
        threads = ThreadPoolExecutor(self._limits.load_workers + 1, "load")  # one waits for those who decode
        asyncio.get_running_loop().set_default_executor(threads)
        ready: asyncio.Queue[_Group | None] = asyncio.Queue()
        waiting = _Waiting()
        jobs: dict[str, Decoding] = {}
        for number, group in enumerate(_groups(runs)):
            missing = await asyncio.to_thread(_missing, group)
            if missing:
                waiting.groups[number] = (group, set(missing))
                jobs |= missing
            else:
                ready.put_nowait(group)
        try:
            async with self._tasks as tasks:
                tasks.create_task(self._decode(jobs, waiting, ready))
                tasks.create_task(self._ask_all(ready))
                for run in runs:
                    for item, outcome in run.unjudged:
                        tasks.create_task(self._judge(run, item, outcome))
        finally:
            self._judges.shutdown(wait=False, cancel_futures=True)
            self._writers.shutdown()

    async def _decode(self, jobs: dict[str, Decoding], waiting: _Waiting, ready: asyncio.Queue[_Group | None]) -> None:
        """Fill the caches; each group is ready as soon as its videos are settled."""
        loop = asyncio.get_running_loop()

        def settled(key: str) -> None:
            for group in waiting.settle(key):
                ready.put_nowait(group)

        is_over = False

        def told(key: str) -> None:
            if is_over:
                raise WorkerError("the run is over")  # ends a build that nobody waits for
            loop.call_soon_threadsafe(settled, key)

        for cache_dir, found in groupby(sorted(jobs.values(), key=lambda job: str(job[0])), key=lambda job: job[0]):
            options = BuildOptions(num_workers=self._limits.decode_workers, progress=False)
            pairs = [(path, spec) for _, path, spec in found]
            try:
                report = await asyncio.to_thread(build, pairs, cache_dir, options, told=told)
            except asyncio.CancelledError:
                is_over = True
                raise
            if report.shortage is not None:
                log.warning("%s; until then videos are decoded at each use", report.shortage)
        await asyncio.sleep(0)  # what was told last
        for group in waiting.rest():
            ready.put_nowait(group)
        ready.put_nowait(None)

    async def _ask_all(self, ready: asyncio.Queue[_Group | None]) -> None:
        slots = asyncio.Semaphore(self._limits.videos)
        async with asyncio.TaskGroup() as tasks:
            while (group := await ready.get()) is not None:
                await self._answerer.start()  # the first time; decoding has begun by then
                await slots.acquire()
                tasks.create_task(self._ask(group)).add_done_callback(lambda _: slots.release())

    async def _ask(self, group: _Group) -> None:
        """All questions of a group. Of those about the same frames the first is read ahead, for all to share them."""
        worded = await asyncio.gather(*(asyncio.to_thread(_word, group.run.questions, item) for item in group.items))
        failed = [one for one in worded if isinstance(one, Outcome)]
        if failed:
            await self._write(group.run.journal.add, failed)
            for outcome in failed:
                self._told(outcome)
        alike: dict[str, list[_Asked]] = {}  # by what the prompts begin with; excerpts of one video share nothing
        for item, prompt in zip(group.items, worded, strict=True):
            if isinstance(prompt, Prompt):
                alike.setdefault(prompt.media[0].key if prompt.media else "", []).append((item, prompt))
        await asyncio.gather(*(self._ask_alike(group.run, asked) for asked in alike.values()))

    async def _ask_alike(self, run: BenchmarkRun, asked: Sequence[_Asked]) -> None:
        """Questions about the same frames."""
        async with self._pixels.take(num_bytes([prompt for _, prompt in asked])):
            if len(asked) > 1:
                await self._read_ahead(asked[0][1])
            await asyncio.gather(*(self._answer(run, item, prompt) for item, prompt in asked))

    async def _read_ahead(self, prompt: Prompt) -> None:
        try:
            await self._answerer.read(prompt, self._next())
        except EngineLostError:
            raise
        except (DataError, WorkerError) as error:
            log.info("%s: %s", prompt.record.where, error)  # its own turn will say so

    async def _answer(self, run: BenchmarkRun, item: EvalItem, prompt: Prompt) -> None:
        try:
            response = await self._answerer.answer(prompt, self._next())
        except EngineLostError:
            raise
        except (DataError, WorkerError) as error:
            await self._settle(run, item, _failure(item, error))
            return
        await self._settle(run, item, await self._write(_graded, run, item, response))

    async def _settle(self, run: BenchmarkRun, item: EvalItem, outcome: Outcome) -> None:
        """Write down. A judge takes its time then, and neither pixels nor the next questions wait for it."""
        await self._write(run.journal.add, [outcome])
        self._tasks.create_task(self._judge(run, item, outcome))

    async def _write(self, work: Callable[..., _Result], *given: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._writers, partial(work, *given))

    async def _judge(self, run: BenchmarkRun, item: EvalItem, outcome: Outcome) -> None:
        """Ask a judge where one is needed, and write that down."""
        if self._judging is not None and outcome.lacks(self._judging.name):
            asking = partial(self._verdict, self._judging, run.benchmark, item, outcome.response or "")
            verdict = await asyncio.get_running_loop().run_in_executor(self._judges, asking)
            if isinstance(verdict, str):
                outcome = replace(outcome, notes={**outcome.notes, "judge": verdict})
            else:
                notes = {name: note for name, note in outcome.notes.items() if name != "judge"}  # of an earlier start
                outcome = replace(outcome, official=verdict, judged=True, judge=self._judging.name, notes=notes)
            await self._write(run.journal.add, [outcome])
        self._told(outcome)

    def _verdict(self, judging: Judging, benchmark: Benchmark, item: EvalItem, response: str) -> Grade | str:
        """Of a judge that does not answer, no more is asked: each question would take minutes."""
        if self._silence >= SILENCE:
            return f"the judge gave no verdict {SILENCE} times in a row and was asked no more"
        verdict = judging.judge(benchmark, item, response)
        self._silence = self._silence + 1 if isinstance(verdict, str) else 0
        if self._silence == SILENCE:
            log.warning("the judge gave no verdict %d times in a row and is asked no more: %s", SILENCE, verdict)
        return verdict

    def _next(self) -> int:
        self._number += 1
        return self._number


def _groups(runs: Sequence[BenchmarkRun]) -> Iterator[_Group]:
    for run in runs:
        by_video: dict[str, list[EvalItem]] = {}
        for item in run.items:
            by_video.setdefault(item.video, []).append(item)
        for items in by_video.values():
            yield _Group(run, tuple(items))


def _missing(group: _Group) -> dict[str, Decoding]:
    """By key, what the cache must be filled with before the group is asked: neither there nor known to fail."""
    if group.run.questions.blind:
        return {}
    sight: Sight = group.run.questions.sight
    cache, found = ClipCache(sight.cache_dir), {}
    for item in group.items:
        for path, spec in sight.jobs(item):
            try:
                key = spec.cache_key(source_id(path))
            except DataError:
                continue  # wording the prompt will say so
            if cache.find(key) is None and cache.failure(key) is None:
                found[key] = (sight.cache_dir, path, spec)
    return found


def _word(questions: Questions, item: EvalItem) -> Prompt | Outcome:
    try:
        return questions.build(item)
    except DataError as error:
        return _failure(item, error)


def _failure(item: EvalItem, error: Exception) -> Outcome:
    return Outcome(id=item.id, failure=f"{type(error).__name__}: {error}")


def _graded(run: BenchmarkRun, item: EvalItem, row: Trajectory) -> Outcome:
    """The response with its grades. Where a grader raises, with that as its failure: the others are still asked."""
    prompt = row.prompt
    item = sized(item, [ref.metadata for ref in prompt.media])
    found = Outcome(
        id=item.id,
        response=row.text,
        truncated=row.truncated,
        prompt_tokens=len(prompt.ids),
        response_tokens=len(row.response_ids),
        frames=tuple(ref.metadata.num_frames for ref in prompt.media),
        prompt_digest=digest(prompt),
    )
    try:
        official = official_grade(run.benchmark, run.questions.style, item, row.text)
        return replace(found, official=official, robust=robust_grade(item, row.text))
    except Exception as error:
        log.exception("%s: its response cannot be graded", prompt.record.where)
        return replace(found, failure=f"grading: {type(error).__name__}: {error}")
