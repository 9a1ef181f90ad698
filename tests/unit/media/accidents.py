# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Tasks for a crew that go well or wrong, as their name says, and accidents that happen to a builder."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from verl.errors import MediaError
from verl.media import worker
from verl.media.build import BuildOptions, build
from verl.media.cache import ClipCache, Kind
from verl.media.crew import Crew
from verl.media.entry import verify
from verl.media.worker import Outcome, Task
from verl.types import VideoClip, VideoSpec


def act(task: str) -> str:
    if task == "raise":
        raise RuntimeError("on purpose")
    if task == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if task == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "leave":
        os._exit(3)
    if task == "hang":
        time.sleep(600)
    if task == "main":
        return sys.modules["__main__"].__name__  # another one where the main module has been imported again
    if task == "pid":
        return str(os.getpid())
    return task.upper()


def prepare() -> None:
    return None


def fail_to_prepare() -> None:
    os._exit(4)


def prepare_small() -> None:
    """As a builder's process, with little memory left."""
    import torch  # noqa: F401  (before its size is taken)

    worker.LOOK_SECONDS = 0.05
    worker.settle(worker.resident_bytes() + (64 << 20))


def swell(task: str) -> str:
    ballast = bytearray(os.urandom(1 << 20)) * 256
    time.sleep(30)
    return task + str(len(ballast))


def make_and_die(task: Task) -> Outcome:
    """Killed the first time the entry is about to appear: written, synchronised, not renamed."""
    replace = Path.replace
    diary = task.root / "died"

    def die(self: Path, target: Path) -> Path:
        if self.suffix == ".tmp" and not diary.exists():
            diary.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = die
    return worker.make(task)


def make_or_crash(task: Task) -> Outcome:
    """A decoder that crashes, hangs, is killed or swells on files of that name."""
    name = Path(task.source.path).stem
    if name == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "hang":
        time.sleep(600)
    if name == "killed_once" and not (task.root / "killed").exists():
        (task.root / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "killed_always":
        os.kill(os.getpid(), signal.SIGKILL)
    return worker.make(task)


def make_slowly(task: Task) -> Outcome:
    """As a builder does, with time to be killed in while it decodes and just before the rename."""
    decode, rename = worker.decode.decode, Path.replace

    def decode_slowly(path: str, spec: VideoSpec) -> VideoClip:
        time.sleep(0.03)
        return decode(path, spec)

    def rename_slowly(self: Path, target: Path) -> Path:
        time.sleep(0.06)
        return rename(self, target)

    worker.decode.decode, Path.replace = decode_slowly, rename_slowly
    try:
        return worker.make(task)
    finally:
        worker.decode.decode, Path.replace = decode, rename


def be_a_builder(cache: Path, paths: list[str], spec: VideoSpec) -> None:
    options = BuildOptions(num_workers=1, progress=False, keep_free_bytes=0)
    build([(path, spec) for path in paths], cache, options, lambda work: Crew(replace(work, function=make_slowly)))


def be_a_reader(cache: Path) -> dict[str, int | list[str]]:
    """Read whatever has a name, again and again, until there is a file `stop`."""
    passes, entries, wrong = 0, 0, []
    while not (cache / "stop").exists():
        for member in ClipCache(cache).members():
            try:
                if member.kind is Kind.ENTRY:
                    entries += verify(member.path).key == member.key
                elif member.kind is Kind.FAILURE:
                    json.loads(member.path.read_bytes())["reason"]
            except (MediaError, ValueError, KeyError) as error:
                wrong.append(f"{member.path}: {error}")
        passes += 1
        time.sleep(0.02)
    return {"passes": passes, "entries": entries, "wrong": wrong}


if __name__ == "__main__":
    order = json.loads(Path(sys.argv[2]).read_text())
    if sys.argv[1] == "build":
        be_a_builder(Path(order["cache"]), order["paths"], VideoSpec(**order["spec"]))
    else:
        json.dump(be_a_reader(Path(order["cache"])), sys.stdout)
