# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation throughput on long videos with several questions each, four ways in one run on one engine.

    python -m scripts.bench.eval [--videos 6] [--questions 10] [--seconds 180] [--model DIR]

loop        decode the video of every question of a batch, one after another, generate, next batch; nothing is kept
one by one  frames are loaded for one question at a time, decoded once and cached, while the engine generates
ours        the pipeline of `python -m eval`: decoding processes, cache, questions of one video together
ours, warm  the same with the cache filled before, as after `python -m eval.prepare`

A video (H.264, 640x360, 25 fps) and a tiny model are made first. Every way starts with empty caches and its own copies
of the video, so that nothing of one serves the next; the engine keeps what it has been asked within each way, in all of
them. The engine waits while it has no question, from when the first one reached it: its own clock, not ours, so reading
and preparing frames counts as waiting. The exit status says whether the targets are met.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil

from eval.aggregate import micro
from eval.benchmark import Benchmark, Budget, Wording
from eval.engines import Answerer, EngineSettings, open_engine
from eval.item import EvalItem, Grade, Medium
from eval.pipeline import BenchmarkRun, Limits, Pipeline
from eval.questions import Questions, Sight
from eval.store import Journal
from examples.quickstart.make_model import build_tiny_qwen3_vl
from verl.media.build import BuildOptions, build
from verl.models.adapter import load_adapter
from verl.rollout.engine import SamplingPlan
from verl.rollout.server import VllmServer
from verl.types import Prompt

SIZE, FRAME_RATE = (360, 640), 25
BUDGET = Budget(fps=2.0, max_frames=128, max_pixels=128 * 224, total_pixels=None)
IN_FLIGHT = 16  # questions, in the way that loads them one by one
BATCH = 8  # questions of the plain loop
LEAST_SPEEDUP, MOST_IDLE = 6.0, 0.05
WARM = "ours, warm"
PLAN = SamplingPlan(temperature=0.0, max_tokens=8, seed=1)
OPTIONS = ("red", "blue", "green", "yellow")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is asked, and who answers."""

    folder: Path
    items: tuple[EvalItem, ...]
    answerer: Answerer
    model: str
    workers: int

    def questions(self, name: str) -> Questions:
        """The items' questions over media and a cache of their own."""
        videos = self.folder / name
        videos.mkdir(exist_ok=True)
        for video in {item.video for item in self.items}:
            if not (videos / video).exists():
                shutil.copy(self.folder / "video.mp4", videos / video)
        adapter = load_adapter(self.model)
        sight = Sight.of(BUDGET, adapter.align, folder=videos, cache_dir=self.folder / f"cache-{name}")
        return Questions(benchmark=BENCH, style="official", sight=sight, adapter=adapter, max_prompt_length=8000)


def ask(item: EvalItem, media: object) -> Wording:
    """A plain multiple-choice question."""
    return Wording(user=f"<video>{item.question}\n{' '.join(item.options)}\nAnswer with the letter.")


BENCH = Benchmark(
    name="bench",
    title="Bench",
    source="made here",
    read=lambda path: (),
    num_items=0,
    ask={"official": ask},
    official=lambda item, response: Grade(score=0.0, parsed=response),
    aggregate=lambda rows: {"overall": micro(rows)},
)


async def ours(world: World, questions: Questions) -> None:
    """The pipeline."""
    limits = Limits(videos=8, load_workers=4, decode_workers=world.workers)
    with Journal(questions.sight.cache_dir.with_suffix(".jsonl")) as journal:
        run = BenchmarkRun(questions=questions, items=world.items, unjudged=(), journal=journal)
        await Pipeline(world.answerer, limits).run([run])


async def loop(world: World, questions: Questions) -> None:
    """Decode, generate, one batch after another."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    for at in range(0, len(world.items), BATCH):
        with tempfile.TemporaryDirectory(dir=memory) as frames:  # of this batch, each question's by themselves
            prompts = []
            for number, item in enumerate(world.items[at : at + BATCH]):
                sight = replace(questions.sight, cache_dir=Path(frames) / str(number))
                prompts.append(replace(questions, sight=sight).build(item))
            await asyncio.gather(*(world.answerer.answer(prompt, at + n) for n, prompt in enumerate(prompts)))


async def one_by_one(world: World, questions: Questions) -> None:
    """One question's frames at a time, beside the engine."""
    slots, tasks = asyncio.Semaphore(IN_FLIGHT), []

    async def answer(number: int, prompt: Prompt) -> None:
        try:
            await world.answerer.answer(prompt, number)
        finally:
            slots.release()

    for number, item in enumerate(world.items):
        await slots.acquire()
        prompt = await asyncio.to_thread(questions.build, item)
        tasks.append(asyncio.create_task(answer(number, prompt)))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)


Way = Callable[[World, Questions], Awaitable[None]]
WAYS: dict[str, Way] = {"loop": loop, "one by one": one_by_one, "ours": ours, WARM: ours}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One way, from its start to its last answer."""

    seconds: float
    cpu_seconds: float  # of all processes: what a busy machine cannot change
    waited: float  # the engine, of `since_first`
    since_first: float

    @classmethod
    def of(cls, seconds: float, cpu_seconds: float, spans: Sequence[tuple[float, float]]) -> Measured:
        """`spans`: when each question reached the engine and left it."""
        ordered = sorted(spans)
        waited, until = 0.0, ordered[0][0]
        for start, end in ordered:
            waited += max(start - until, 0.0)
            until = max(until, end)
        return cls(seconds=seconds, cpu_seconds=cpu_seconds, waited=waited, since_first=until - ordered[0][0])

    @property
    def idle(self) -> float:
        """Share of the time."""
        return self.waited / self.since_first


def cpu_seconds() -> float:
    """Of this process, of those under it, and of those that have ended."""
    this = psutil.Process()
    return sum(sum(one.cpu_times()[:4]) for one in [this, *this.children(recursive=True)])


def watch(server: VllmServer, spans: list[tuple[float, float]]) -> None:
    """Have the engine's own times of every question noted down."""
    engine: Any = server._engine
    generate = engine.generate

    async def watched(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async for output in generate(*args, **kwargs):
            spans.append((output.metrics.queued_ts, output.metrics.last_token_ts))
            yield output

    engine.generate = watched


async def measure(world: World, server: VllmServer) -> int:
    """Every way once, after a warm-up; the exit status."""
    spans: list[tuple[float, float]] = []
    await world.answerer.start()
    try:
        await world.answerer.answer(world.questions("warm-up").build(world.items[0]), 0)
        watch(server, spans)
        found = {}
        for name, way in WAYS.items():
            questions = world.questions(name)
            if name == WARM:
                jobs = [job for item in world.items for job in questions.sight.jobs(item)]
                build(jobs, questions.sight.cache_dir, BuildOptions(num_workers=world.workers, progress=False))
            spans.clear()
            started, worked = time.monotonic(), cpu_seconds()
            await way(world, questions)
            found[name] = Measured.of(time.monotonic() - started, cpu_seconds() - worked, spans)
            print(f"{name}: {found[name].seconds:.1f} s, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    finally:
        await world.answerer.close()
    return report(len(world.items), found)


def report(count: int, found: dict[str, Measured]) -> int:
    """Print the table and whether the targets are met."""
    print(f"{count} questions    seconds  questions/s  CPU seconds  engine waits")
    for name, one in found.items():
        print(
            f"{name:14} {one.seconds:9.1f} {count / one.seconds:12.2f} {one.cpu_seconds:12.1f} {100 * one.idle:12.1f}%"
        )
    speedup, idle = found["loop"].seconds / found["ours"].seconds, found[WARM].idle
    met = [speedup >= LEAST_SPEEDUP, idle <= MOST_IDLE]
    print(f"{_word(met[0])}  {speedup:.1f} times the throughput of the loop (target: {LEAST_SPEEDUP:g})")
    print(f"        {found['one by one'].seconds / found['ours'].seconds:.1f} times that of loading one by one")
    print(f"{_word(met[1])}  {100 * idle:.1f}% of the time the engine waits once videos are decoded (target: 5)")
    return 0 if all(met) else 1


def _word(is_met: bool) -> str:
    return "met   " if is_met else "MISSED"


def make_video(path: Path, seconds: int, seed: int) -> None:
    """A moving pattern with noise, so that decoding costs what it does in life."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    ground = rng.integers(0, 255, (height * 2, width * 2, 3), np.uint8)
    ground = np.repeat(np.repeat(ground[::8, ::8], 8, 0), 8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FRAME_RATE), options={"preset": "veryfast", "g": "250"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(seconds * FRAME_RATE):
            y, x = number * 3 % height, number * 5 % width
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(ground[y : y + height, x : x + width]), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def make_world(folder: Path, given: argparse.Namespace) -> tuple[World, VllmServer]:
    """A video, questions and the engine that is yet to be started."""
    model = given.model or str(build_tiny_qwen3_vl(folder / "model", tied=True))
    make_video(folder / "video.mp4", given.seconds, 0)
    items = []
    for number in range(given.videos):
        name = f"{number}.mp4"
        items += [
            EvalItem(
                id=f"{number}-{question}",
                video=name,
                media=(Medium(path=name),),
                question=f"Question {question}: which colour comes first?",
                answer="A",
                problem_type="multiple choice",
                options=OPTIONS,
            )
            for question in range(given.questions)
        ]
    engine = EngineSettings(device=given.device, dtype=given.dtype, max_model_len=8192, max_num_seqs=16)
    server: Any = open_engine(model, engine, items)
    server.options = replace(server.options, disable_log_stats=False)  # for its clock
    answerer = Answerer(lambda: server, PLAN)
    return World(folder=folder, items=tuple(items), answerer=answerer, model=model, workers=given.workers), server


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--videos", type=int, default=6)
    parser.add_argument("--questions", type=int, default=10, help="about each video")
    parser.add_argument("--seconds", type=int, default=180, help="length of the video")
    parser.add_argument("--model", help="a Qwen-VL folder in place of the tiny model")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(*make_world(Path(folder), given)))


if __name__ == "__main__":
    sys.exit(main())
