# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Four builders on one directory, killed at random moments, while somebody reads it."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.videos import VideoRecipe, numbered_video, read_number
from verl.errors import MediaError
from verl.media.build import BuildOptions, build
from verl.media.cache import ClipCache, Kind
from verl.media.decode import decode
from verl.media.entry import verify
from verl.media.spec import source_id

ROOT = Path(__file__).parents[3]
BUILDERS = 4
KILLS = {"parent": 1, "all": 4, "child": 10}  # the parent, it and everything it started, one process of those
GOOD = 146
BAD = {"corrupt": 9, "truncated": 9, "empty": 9, "text": 9, "folder": 9, "dangling": 9}  # 200 clips in all
WITHOUT_KEY = {"folder", "dangling"}  # no file, so nothing a record could be filed under
PATIENCE = 120.0


def make_clips(folder: Path) -> dict[str, int]:
    """Paths of good clips, each with the number of its first frame; beside them the bad ones."""
    bases = [numbered_video(folder / f"base{i}.mp4", VideoRecipe(num_frames=24, offset=100 * i)) for i in range(4)]
    good = {}
    for index in range(GOOD):
        path = folder / f"good{index}.mp4"
        shutil.copyfile(bases[index % 4], path)
        good[str(path)] = 100 * (index % 4)
    whole = bases[0].read_bytes()
    content = {
        "corrupt": whole[:400] + bytes(len(whole) // 2) + whole[400 + len(whole) // 2 :],
        "truncated": whole[: len(whole) * 2 // 3],
        "empty": b"",
        "text": b"This is not a video.\n" * 50,
    }
    for kind, count in BAD.items():
        for index in range(count):
            path = folder / f"{kind}{index}.mp4"
            if kind == "folder":
                path.mkdir()
            elif kind == "dangling":
                path.symlink_to(folder / "nothing.mp4")
            else:
                path.write_bytes(content[kind])
    return good


def start(what: str, order: Path, **options) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.unit.media.accidents", what, str(order)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **options)


def descendants(pid: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return children + [deeper for child in children for deeper in descendants(child)]


def strike(builder: subprocess.Popen, how: str, rng: random.Random) -> None:
    below = descendants(builder.pid)  # one that only tidies up, one that forks the workers, the workers
    victims = below if how == "all" else []
    if how == "child" and len(below) > 2:
        victims = rng.choices(below[1:], [1, *[3] * len(below[2:])])
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if how != "child":
        builder.kill()
        builder.wait()


def torment(builders: list[subprocess.Popen], order: Path, cache: Path, rng: random.Random) -> None:
    """Kill whenever another few entries are there, and start again what died."""
    deadline = time.monotonic() + PATIENCE
    ways = rng.sample(list(KILLS), counts=KILLS.values(), k=sum(KILLS.values()))
    for how, moment in zip(ways, sorted(rng.sample(range(GOOD * 5 // 6), len(ways))), strict=True):
        while len(list(cache.glob("*/*.safetensors"))) < moment:
            assert time.monotonic() < deadline, "the builders do not get on"
            time.sleep(0.01)
        time.sleep(rng.random() * 0.1)
        at_work = [index for index in range(BUILDERS) if len(descendants(builders[index].pid)) > 2]
        victim = rng.choice(at_work or range(BUILDERS))
        strike(builders[victim], how, rng)
        if builders[victim].poll() is not None:
            builders[victim] = start("build", order)


def tortured(tmp_path: Path, order: Path, seed: int) -> dict:
    """What a reader saw while the builders were killed and finished all the same."""
    cache = tmp_path / "cache"
    cache.mkdir()
    reader = start("read", order, stdout=subprocess.PIPE, text=True)
    builders = [start("build", order) for _ in range(BUILDERS)]
    try:
        torment(builders, order, cache, random.Random(seed))
        assert [builder.wait(PATIENCE) for builder in builders] == [0] * BUILDERS
        (cache / "stop").touch()
        seen = json.loads(reader.communicate(timeout=PATIENCE)[0])
    finally:
        for process in (reader, *builders):
            for pid in [*descendants(process.pid), process.pid] if process.poll() is None else []:
                os.kill(pid, signal.SIGKILL)
            process.wait()
    return seen


@pytest.mark.timeout(300)
def test_killed_builders_leave_one_whole_entry_for_each_good_clip_and_a_reason_for_each_bad_one(tmp_path, spec):
    good = make_clips(tmp_path / "videos")
    bad = {str(tmp_path / "videos" / f"{kind}{i}.mp4"): kind for kind, count in BAD.items() for i in range(count)}
    for kind in BAD:
        with pytest.raises(MediaError):
            decode(source_id(tmp_path / "videos" / f"{kind}0.mp4").path, spec)
    paths = [*good, *bad]
    order = tmp_path / "order.json"
    order.write_text(json.dumps({"cache": str(tmp_path / "cache"), "paths": paths, "spec": asdict(spec)}))

    seen = tortured(tmp_path, order, seed=7)
    assert seen["wrong"] == []
    assert seen["passes"] > 10
    assert seen["entries"] > GOOD

    options = BuildOptions(num_workers=1, progress=False, keep_free_bytes=0)
    report = build([(path, spec) for path in paths], tmp_path / "cache", options)
    assert (report.built, report.reused) == (0, GOOD)
    assert {failure.path for failure in report.failed} == bad.keys()
    assert all(failure.reason for failure in report.failed)

    cache = ClipCache(tmp_path / "cache")
    members = Counter(member.kind for member in cache.members())
    recorded = sum(count for kind, count in BAD.items() if kind not in WITHOUT_KEY)
    assert members == {Kind.ENTRY: GOOD, Kind.FAILURE: recorded}
    left = {path.name: path.is_symlink() and path.readlink() for path in (tmp_path / "cache").rglob(".*")}
    assert left == {}
    for path, number in good.items():
        header = verify(cache.find(spec.cache_key(source_id(path))))
        assert header.source.path == path
        assert read_number(ClipCache.load(cache.find(header.key), spec).frames[0]) == number
    for path, kind in bad.items():
        if kind not in WITHOUT_KEY:
            assert cache.failure(spec.cache_key(source_id(path)))
