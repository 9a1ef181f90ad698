# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Every benchmark through the command and a real engine, beside all that goes wrong.

In each run one video cannot be decoded. The first run is not interrupted, but its judge never answers. The second is
two shards at once: one loses its engine and then is killed itself, the other one's disk is full. Then all of it is
started again in one piece with a judge that does answer; so is the first run in the end. Then both must have the same
results.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from eval.__main__ import main
from eval.benchmark import BENCHMARKS
from tests.judge_endpoint import Answer, FakeEndpoint
from tests.unit.eval.annotated import ROWS as STRUCTURED_ROWS
from tests.unit.eval.annotated import VECTORS
from tests.unit.eval.test_annotations import CONVERTED as PLAIN
from tests.unit.eval.test_annotations import ROWS as PLAIN_ROWS
from tests.unit.eval.test_structured import CONVERTED as STRUCTURED
from tests.videos import VideoRecipe, numbered_video
from tests.world import tiny_image, tiny_model

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
OFFICIAL = json.loads((VECTORS / "eval_official_rows.json").read_text())["official"]
PER_BENCHMARK = 2  # rows of each converted file
SHARED = ("videomathqa", "videomathqa_mbin", "mmvu_all")  # files whose first rows are all of one kind
BROKEN = "mvbench"  # the first of its videos cannot be decoded
JUDGED = tuple(name for name in BENCHMARKS if BENCHMARKS[name].needs_judge)
FLAGS = ["--max_frames", "4", "--max_pixels", "4096", "--max_tokens", "4", "--max_num_seqs", "8", "--device", "cpu"]
FLAGS += ["--max_model_len", "8192", "--kv_cache_memory_mb", "128", "--decode_workers", "2", "--load_workers", "2"]
FLAGS += ["--judge_model", "m", "--judge_timeout", "0.2"]
ONE_BY_ONE = ["--max_num_seqs", "1", "--pixel_gb", "1e-6"]  # a run that takes seconds can be stopped in its middle


def converted_rows() -> dict[str, list[dict]]:
    """Rows of converted files by the name of the benchmark that reads them."""
    plain = {name: PLAIN_ROWS[file] for name, file in PLAIN.items()}
    rows = plain | {name: STRUCTURED_ROWS[file] for name, file in STRUCTURED.items()}
    rows = {name: found if name in SHARED else found[:PER_BENCHMARK] for name, found in rows.items()}
    with_image = [row for row in STRUCTURED_ROWS["videommmu_with_image"] if "image_path" in row]
    return rows | {"videommmu_gain": with_image[:PER_BENCHMARK]}


def write_annotations(root: Path) -> dict[str, Path]:
    """Annotations of every benchmark there is."""
    found = {}
    for name, rows in converted_rows().items():
        found[name] = root / "data" / f"{BENCHMARKS[name].folder or name}.json"
        found[name].parent.mkdir(exist_ok=True)
        found[name].write_text(json.dumps(rows))
    for name in set(BENCHMARKS) - set(found):
        found[name] = root / "official" / name / "annotations"
        for file, content in (OFFICIAL.get(name) or OFFICIAL[str(BENCHMARKS[name].folder)]).items():
            path = found[name] / file
            path.parent.mkdir(parents=True, exist_ok=True)
            found[name].mkdir(exist_ok=True)
            path.resolve().write_text(content if isinstance(content, str) else json.dumps(content))
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The folder of everything, and the annotations in it by benchmark."""
    root = tmp_path_factory.mktemp("eval")
    short = numbered_video(root / "short.mp4", VideoRecipe(num_frames=40, fps=10, width=96, height=64))
    long = numbered_video(root / "long.mp4", VideoRecipe(num_frames=4000, fps=1, width=48, height=48))
    image = tiny_image(root / "image.png")
    broken = root / "broken.mp4"
    broken.write_bytes(b"no video" * 99)
    annotations = write_annotations(root)
    for name, where in annotations.items():
        for number, item in enumerate(BENCHMARKS[name].read(where)):
            for medium in item.media:
                path = root / "data" / (BENCHMARKS[name].folder or name) / "videos" / medium.path
                path.parent.mkdir(parents=True, exist_ok=True)
                source = image if medium.kind == "image" else short if medium.end is None and not medium.start else long
                if not path.exists():
                    path.symlink_to(broken if name == BROKEN and number == 0 else source)
    tiny_model(root / "model", tied=True)
    return root, annotations


@pytest.fixture(scope="module")
def judge():
    """A judge that can tell a horse's legs, and says nothing more until it is told to."""
    speaking = []

    def reply(body):
        is_check = "horse" in body["messages"][1]["content"]
        is_right = "3 legs" not in body["messages"][1]["content"]
        return Answer(content=json.dumps({"correct": is_right}), seconds=0.0 if is_check or speaking else 60.0)

    with FakeEndpoint(reply) as endpoint:
        yield endpoint, speaking


def command(data, judge, output: str) -> list[str]:
    root, annotations = data
    where = ["--data_root", str(root / "data"), "--output_dir", str(root / output), "--cache_dir", str(root / "cache")]
    where += ["--judge_url", judge[0].url, "--judge_cache_dir", str(root / f"{output}-verdicts")]
    for name, path in annotations.items():
        where += ["--annotations", f"{name}={path}"]
    return ["run", "--model", str(root / "model"), "--benchmarks", ",".join(annotations), *where, *FLAGS]


def start_on_a_small_disk(arguments: list[str]) -> subprocess.Popen:
    """What it says goes into a pipe, which has room when files have not."""
    call = [sys.executable, "-m", "eval", *arguments]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "pipesize": 1 << 20}
    return subprocess.Popen(call, cwd=ROOT, text=True, start_new_session=True, **pipe)


def fill_disk(process: subprocess.Popen, has_answered: Callable[[], bool]) -> None:
    """The process has to end by itself and in words, and its engine with it."""
    wait_until(process, has_answered)
    engines = psutil.Process(process.pid).children(recursive=True)
    psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (1, 1))  # in the command alone, not in its engine
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1, said[-3000:]
    assert "StoreError: " in said and "make room and start the same command again" in said
    assert engines and not psutil.wait_procs(engines, 10)[1]


def start(arguments: list[str], log: Path) -> subprocess.Popen:
    with log.open("ab") as sink:
        call = [sys.executable, "-m", "eval", *arguments]
        return subprocess.Popen(call, cwd=ROOT, stdout=sink, stderr=sink, start_new_session=True)


def results(output: Path) -> dict[str, list[dict]]:
    found = {path.parts[-3]: path.read_text() for path in output.rglob("results.jsonl")}
    return {name: [json.loads(line) for line in text.splitlines()] for name, text in found.items()}


def answers(output: Path, shard: str = "*") -> list[tuple[str, str]]:
    """(benchmark, item) of every line that was written when an engine had answered, and before a judge had."""
    lines = [
        (path.parts[-3], json.loads(line))
        for path in output.rglob(f"journal-{shard}.jsonl")
        for line in path.read_bytes().split(b"\n")[:-1]
    ]
    return [(name, row["id"]) for name, row in lines if not row["judged"] and not row["notes"]]


def wait_until(process: subprocess.Popen, is_so: Callable[[], bool]) -> None:
    while process.poll() is None and not is_so():
        time.sleep(0.02)
    assert process.poll() is None


def check_whole(data, log: str) -> None:
    """Everything is there once; what failed has its reason, and what the judge owes is open."""
    root, annotations = data
    found = results(root / "whole")
    assert set(found) == set(annotations) == set(BENCHMARKS)
    for name, rows in found.items():
        assert [row["id"] for row in rows] == [item.id for item in BENCHMARKS[name].read(annotations[name])]
        failures = [row["failure"] for row in rows]
        assert [failure is None for failure in failures] == [name != BROKEN or n > 0 for n in range(len(rows))], name
        assert name in JUDGED or all(row["failure"] or row["official"]["score"] is not None for row in rows)
        assert BENCHMARKS[name].title in log
    assert found[BROKEN][0]["failure"].startswith("MediaError: ")
    assert f"{BROKEN}: 1 of {len(found[BROKEN])} items failed and count as wrong; --retry_failed asks them again" in log
    opened = [row for name in JUDGED for row in found[name] if row["official"]["score"] is None]
    assert opened and all("judge" in row["notes"] for row in opened)
    assert "answers have no verdict and count as wrong; the same command with a judge asks for them again" in log
    reports = {path.name for path in (root / "whole").glob("report.*")}
    assert reports == {f"report.{end}" for end in ("md", "csv", "json", "html")}


def test_every_benchmark_through_everything_that_goes_wrong(data, judge, monkeypatch, capfd):
    root, _ = data
    whole, torn, log = root / "whole", root / "torn", root / "log"
    process = start(command(data, judge, "whole"), log)
    assert process.wait(900) == 0, log.read_text()[-3000:]
    check_whole(data, log.read_text())

    log.write_text("")
    other = start_on_a_small_disk([*command(data, judge, "torn"), *ONE_BY_ONE, "--shard", "2/2"])
    process = start([*command(data, judge, "torn"), *ONE_BY_ONE, "--shard", "1/2"], log)
    full = ThreadPoolExecutor(1).submit(fill_disk, other, lambda: bool(answers(torn, "2of2")))
    wait_until(process, lambda: len(answers(torn, "1of2")) >= 5)
    (engine,) = [one for one in psutil.Process(process.pid).children() if "EngineCore" in " ".join(one.cmdline())]
    engine.kill()
    wait_until(process, lambda: "the engine is dead; starting another one" in log.read_text())
    enough = len(answers(torn, "1of2")) + random.randint(3, 20)
    wait_until(process, lambda: len(answers(torn, "1of2")) >= enough)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    full.result(300)
    assert results(torn) == {}

    judge[1].append("speaks")
    patient = ["--judge_timeout", "30"]  # it speaks now, if the machine lets it
    process = start([*command(data, judge, "torn"), *patient], log)
    assert process.wait(900) == 0, log.read_text()[-3000:]
    assert set(Counter(answers(torn)).values()) == {1}  # nothing was asked twice
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr("eval.runner.open_engine", None)  # nothing is left to ask
    assert main([*command(data, judge, "whole"), *patient]) == 0, capfd.readouterr().err
    assert "have no verdict" not in capfd.readouterr().err
    assert results(torn) == results(whole) and len(results(torn)) == len(list(BENCHMARKS))
