# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation throughput on long videos with several questions each, three ways in one run on one engine.

    python -m scripts.bench.eval [--videos 12] [--questions 6] [--seconds 60] [--model DIR]

ours        the pipeline of `python -m eval`: decoding processes, cache, questions of one video together
loop        decode the videos of a batch one after another, generate, next batch; nothing is kept
one by one  frames are loaded for one question at a time, decoded once and cached, while the engine generates

Videos (H.264, 640x360, 25 fps) and a tiny model are made first. Every way starts with empty caches and its own copies
of the videos, so that nothing of one serves the next. The exit status says whether the targets are met.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from eval.aggregate import micro
from eval.benchmark import Benchmark, Budget, Wording
from eval.engines import Answerer, EngineSettings, Idleness, open_engine
from eval.item import EvalItem, Grade, Medium
from eval.pipeline import BenchmarkRun, Limits, Pipeline
from eval.questions import Questions, Sight
from eval.store import Journal
from examples.quickstart.make_model import build_tiny_qwen3_vl
from verl.models.adapter import load_adapter
from verl.rollout.engine import SamplingPlan
from verl.types import Prompt

SIZE, FRAME_RATE = (360, 640), 25
BUDGET = Budget(fps=2.0, max_frames=128, max_pixels=128 * 224, total_pixels=None)
IN_FLIGHT = 16  # questions, in the way that loads them one by one
BATCH = 8  # questions of the plain loop
LEAST_SPEEDUP, MOST_IDLE = 6.0, 0.05
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
        if not videos.exists():
            shutil.copytree(self.folder / "videos", videos)
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


async def ours(world: World) -> None:
    """The pipeline."""
    journal = Journal(world.folder / "ours.jsonl")
    limits = Limits(videos=8, load_workers=4, decode_workers=world.workers)
    run = BenchmarkRun(questions=world.questions("ours"), items=world.items, unjudged=(), journal=journal)
    with journal:
        await Pipeline(world.answerer, limits).run([run])


async def loop(world: World) -> None:
    """Decode, generate, one batch after another."""
    questions = world.questions("loop")
    for at in range(0, len(world.items), BATCH):
        batch = world.items[at : at + BATCH]
        prompts = []
        for item in batch:
            shutil.rmtree(questions.sight.cache_dir, ignore_errors=True)  # nothing is kept: decoded for every question
            prompts.append(questions.build(item))
        await asyncio.gather(*(world.answerer.answer(prompt, at + n) for n, prompt in enumerate(prompts)))


async def one_by_one(world: World) -> None:
    """One question's frames at a time, beside the engine."""
    questions = world.questions("one_by_one")
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


WAYS: dict[str, Callable[[World], Awaitable[None]]] = {"ours": ours, "loop": loop, "one by one": one_by_one}


async def measure(world: World) -> int:
    """Every way once, after a warm-up; the exit status."""
    await world.answerer.start()
    try:
        await world.answerer.answer(world.questions("warm").build(world.items[0]), 0)
        seconds, idle = {}, {}
        for name, way in WAYS.items():
            world.answerer.idleness = Idleness()
            started = time.monotonic()
            await way(world)
            seconds[name] = time.monotonic() - started
            idle[name] = world.answerer.idleness.idle_seconds / seconds[name]
    finally:
        await world.answerer.close()
    return report(len(world.items), seconds, idle)


def report(count: int, seconds: dict[str, float], idle: dict[str, float]) -> int:
    """Print the table and whether the targets are met."""
    print(f"{count} questions      seconds  questions/s  engine waits")
    for name, spent in seconds.items():
        print(f"{name:18} {spent:9.1f} {count / spent:12.2f} {100 * idle[name]:12.1f}%")
    speedup = seconds["loop"] / seconds["ours"]
    met = [speedup >= LEAST_SPEEDUP, idle["ours"] <= MOST_IDLE]
    print(
        f"{'met ' if met[0] else 'MISSED'}  {speedup:.1f} times the throughput of the loop (target: {LEAST_SPEEDUP:g})"
    )
    print(f"        {seconds['one by one'] / seconds['ours']:.1f} times that of loading one by one")
    print(f"{'met ' if met[1] else 'MISSED'}  {100 * idle['ours']:.1f}% of the time the engine waits (target: 5)")
    return 0 if all(met) else 1


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


def make_world(folder: Path, given: argparse.Namespace) -> World:
    """Videos, questions and the engine that is yet to be started."""
    model = given.model or str(build_tiny_qwen3_vl(folder / "model", tied=True))
    (folder / "videos").mkdir(exist_ok=True)
    items = []
    for number in range(given.videos):
        name = f"{number}.mp4"
        make_video(folder / "videos" / name, given.seconds, number)
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
    answerer = Answerer(lambda: open_engine(model, engine, items), PLAN)
    return World(folder=folder, items=tuple(items), answerer=answerer, model=model, workers=given.workers)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--videos", type=int, default=12)
    parser.add_argument("--questions", type=int, default=6, help="about each video")
    parser.add_argument("--seconds", type=int, default=60, help="length of a video")
    parser.add_argument("--model", help="a Qwen-VL folder in place of the tiny model")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(make_world(Path(folder), given)))


if __name__ == "__main__":
    sys.exit(main())
