# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The video cache, filled by Ray."""

import importlib.util
import json
from pathlib import Path

import pytest
import ray

from tests.unit.media import accidents
from tests.videos import VideoRecipe, numbered_video
from verl.media.cache import ClipCache
from verl.media.crew import Cause, Lost, Queue, Work
from verl.media.entry import verify
from verl.workers.decoding import RayCrew

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]
SCRIPT = Path(__file__).parents[2] / "scripts" / "preprocess_videos.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("preprocess_videos", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    ray.shutdown()


def test_ray_builds_the_same_cache_and_an_accident_costs_one_task(tmp_path, script, capsys, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    rows = [{"problem": f"<video>{i}", "videos": [f"{i}.mp4"]} for i in range(2)] + [{"problem": "text"}]
    for index in range(2):
        numbered_video(tmp_path / f"{index}.mp4", VideoRecipe(num_frames=8, offset=index))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    places = {"input_file": "rows.jsonl", "output_dir": "cache", "output_file": "out.jsonl", "image_dir": ""}
    flags = [part for flag, place in places.items() for part in (f"--{flag}", str(tmp_path / place))]
    assert script.main([*flags, "--ray", "--workers", "2", "--keep_free_gb", "0"]) == 0
    assert "2 videos decoded" in capsys.readouterr().out
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert written[2] == rows[2]
    for index, row in enumerate(written[:2]):
        entry = tmp_path / "cache" / row["preprocessed_video"]
        assert verify(entry).source.path == str(tmp_path / f"{index}.mp4")
    assert len(list(ClipCache(tmp_path / "cache").members())) == 2

    work = Work(function=accidents.act, prepare=accidents.prepare, size=2, timeout_seconds=1.0)
    outcomes = dict(RayCrew(work).run(Queue(["a", "crash", "hang", "raise", "b"])))
    assert outcomes == {
        "a": "A",
        "b": "B",
        "crash": Lost("its process died (SIGSEGV)", Cause.DIED),
        "hang": Lost("not finished after 1 seconds", Cause.TIMEOUT),
        "raise": Lost("RuntimeError: on purpose", Cause.RAISED),
    }
