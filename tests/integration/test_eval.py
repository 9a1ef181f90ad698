# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Every benchmark through the command and a real engine: killed in the middle, and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eval.benchmark import BENCHMARKS
from tests.unit.eval.annotated import ROWS as STRUCTURED_ROWS
from tests.unit.eval.test_annotations import CONVERTED as PLAIN
from tests.unit.eval.test_annotations import ROWS as PLAIN_ROWS
from tests.unit.eval.test_structured import CONVERTED as STRUCTURED
from tests.videos import VideoRecipe, numbered_video
from tests.world import tiny_image, tiny_model

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
PER_BENCHMARK = 2  # rows of each sample file
SHARED = ("videomathqa", "videomathqa_mbin", "mmvu_all")  # files whose first rows are all of one kind
FLAGS = ["--max_frames", "4", "--max_pixels", "4096", "--max_tokens", "4", "--max_num_seqs", "8", "--device", "cpu"]
FLAGS += ["--max_model_len", "8192", "--kv_cache_memory_mb", "128", "--decode_workers", "2", "--load_workers", "2"]


def sample_files() -> dict[str, list[dict]]:
    """Rows of the converted files by the name of the benchmark that reads them."""
    plain = {name: PLAIN_ROWS[file] for name, file in PLAIN.items()}
    return plain | {name: STRUCTURED_ROWS[file] for name, file in STRUCTURED.items()}


def annotations_of(name: str, root: Path) -> Path:
    """Some benchmarks read the file of another one."""
    return root / "data" / f"{BENCHMARKS[name].folder or name}.json"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Annotations of every benchmark, and a small file under every name that they mention."""
    root = tmp_path_factory.mktemp("eval")
    short = numbered_video(root / "short.mp4", VideoRecipe(num_frames=40, fps=10, width=96, height=64))
    long = numbered_video(root / "long.mp4", VideoRecipe(num_frames=4000, fps=1, width=48, height=48))
    image = tiny_image(root / "image.png")
    for name, rows in sample_files().items():
        annotations = annotations_of(name, root)
        annotations.parent.mkdir(exist_ok=True)
        annotations.write_text(json.dumps(rows if name in SHARED else rows[:PER_BENCHMARK]))
        for item in BENCHMARKS[name].read(annotations):
            for medium in item.media:
                path = annotations.with_suffix("") / "videos" / medium.path
                path.parent.mkdir(parents=True, exist_ok=True)
                source = image if medium.kind == "image" else short if medium.end is None and not medium.start else long
                if not path.exists():
                    path.symlink_to(source)
    tiny_model(root / "model", tied=True)
    return root


def command(data: Path, output: str) -> list[str]:
    names = ",".join(sample_files())
    where = ["--data_root", str(data / "data"), "--output_dir", str(data / output), "--cache_dir", str(data / "cache")]
    return [sys.executable, "-m", "eval", "run", "--model", str(data / "model"), "--benchmarks", names, *where, *FLAGS]


def results(output: Path) -> dict[str, list[dict]]:
    found = {path.parts[-3]: path.read_text() for path in output.rglob("results.jsonl")}
    return {name: [json.loads(line) for line in text.splitlines()] for name, text in found.items()}


def lines_written(output: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in output.rglob("journal-*.jsonl"))


def kill_in_the_middle(arguments: list[str], output: Path, log: Path) -> None:
    with log.open("wb") as sink:
        process = subprocess.Popen(arguments, cwd=ROOT, stdout=sink, stderr=sink, start_new_session=True)
        while process.poll() is None and lines_written(output) < 7:
            time.sleep(0.05)
        assert process.poll() is None, log.read_text()[-3000:]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_killed_run_ends_as_one_that_was_not(data):
    whole = subprocess.run(command(data, "whole"), cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert whole.returncode == 0, whole.stderr[-3000:]
    wanted = results(data / "whole")
    assert set(wanted) == set(sample_files())
    for name, rows in wanted.items():
        ids = [item.id for item in BENCHMARKS[name].read(annotations_of(name, data))]
        assert [row["id"] for row in rows] == ids
        assert [row["failure"] for row in rows] == [None] * len(rows), name
    assert all(BENCHMARKS[name].title in whole.stdout for name in wanted)
    assert {path.name for path in (data / "whole").glob("report.*")} == {
        f"report.{end}" for end in ("md", "csv", "json", "html")
    }

    kill_in_the_middle(command(data, "torn"), data / "torn", data / "torn.log")
    before = lines_written(data / "torn")
    again = subprocess.run(command(data, "torn"), cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert again.returncode == 0, again.stderr[-3000:]
    assert before >= 7 and results(data / "torn") == wanted
    assert lines_written(data / "torn") == sum(map(len, wanted.values()))  # nothing was asked twice
