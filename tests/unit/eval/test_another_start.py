# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What a start of a run takes over from earlier ones, and what it must not."""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest

from eval import fleet
from eval.__main__ import main
from eval.command import add_run_flags, judge_config, run_options
from eval.engines import Answerer
from eval.item import Grade, Subtitle
from eval.options import items_identity, plugins
from eval.pipeline import BenchmarkRun, Limits, Pipeline
from eval.questions import num_bytes
from eval.store import Journal, Outcome, read_outcomes
from tests.unit.eval.test_pipeline import PLAN, Judge, ask
from tests.unit.eval.world import TOY, ToyEngine, ToyQuestions, item
from tests.world import tiny_model
from verl.errors import ConfigError

FAILED = Outcome(id="a", failure="MediaError: no")
OPEN = Outcome(id="a", response="?", official=Grade(score=None, parsed="?"))
DONE = Outcome(id="a", response="B", official=Grade(score=1.0, parsed="B"))


@pytest.mark.parametrize(("early", "late"), [(FAILED, DONE), (FAILED, OPEN), (OPEN, DONE)])
@pytest.mark.parametrize("order", [("1of2", "1of1"), ("1of1", "1of2"), ("1of1", "1of1")])
def test_what_a_start_with_other_shards_settled_counts(tmp_path, early, late, order):
    for outcome, shard in zip((early, late), order, strict=True):
        with Journal(tmp_path / f"journal-{shard}.jsonl") as journal:
            journal.add([outcome])
    for path in tmp_path.iterdir():
        os.utime(path, (1, 1))  # a copy without its times
    assert read_outcomes(tmp_path) == {"a": late}


def test_of_two_verdicts_the_later_one_counts(tmp_path):
    verdicts = [replace(DONE, judged=True, judge=name) for name in ("first", "second")]
    for outcome, shard in zip(verdicts, ("2of2", "1of1"), strict=True):
        with Journal(tmp_path / f"journal-{shard}.jsonl") as journal:
            journal.add([outcome])
        time.sleep(0.02)
    assert read_outcomes(tmp_path)["a"].judge == "second"


def test_another_judge_is_asked_again_and_one_that_fails_changes_nothing(tmp_path):
    by_other = Outcome(id="a-0", response="?", official=Grade(score=0.0, parsed="?"), judged=True, judge="other")
    assert by_other.lacks("judge") and not by_other.lacks("other") and OPEN.lacks("judge") and not DONE.lacks("judge")
    judge = Judge(Grade(score=1.0, parsed="?"))
    found, _ = ask(tmp_path, [], [ToyEngine()], judging=judge, unjudged=[(item("a-0", "a"), by_other)])
    assert (found["a-0"].judge, found["a-0"].official.score) == ("judge", 1.0)
    failing = Judge("timed out")
    found, _ = ask(tmp_path / "b", [], [ToyEngine()], judging=failing, unjudged=[(item("a-0", "a"), by_other)])
    assert (found["a-0"].judge, found["a-0"].official.score) == ("other", 0.0)


def test_subtitles_and_files_of_ones_own_are_part_of_what_is_asked(tmp_path):
    said = item("a", subtitles=(Subtitle(start=0, end=1, text="hello"),))
    identities = [items_identity([one]) for one in (item("a"), said, item("a", options=("red", "green")), item("b"))]
    assert len(set(identities)) == 4 and items_identity([item("a", fields={"k": object()})]) == identities[0]
    file = tmp_path / "own.py"
    file.write_text("X = 1\n")
    before = plugins(f"{file}:X", "qwen_utils", "mvbench")
    assert list(before) == ["own.py:X"]
    file.write_text("X = 2\n")
    assert plugins(f"{file}:X") != before


def test_a_grader_that_raises_fails_its_item_and_keeps_the_response(tmp_path):
    def grade(item, response):
        return Grade(score=float(response), parsed=response)

    class Raising(ToyQuestions):
        benchmark = replace(TOY, official=grade)

    with Journal(tmp_path / "journal-1of1.jsonl") as journal:
        items = (item("a", "a"), item("b", "b"))
        run = BenchmarkRun(questions=Raising(), items=items, unjudged=(), journal=journal)
        asyncio.run(Pipeline(Answerer(lambda: ToyEngine({"a": "x", "b": "1"}), PLAN), Limits()).run([run]))
    found = read_outcomes(tmp_path)
    assert found["a"].failure.startswith("grading: ValueError: ") and found["a"].response == "x"
    assert found["b"].official.score == 1.0


def test_a_file_system_without_locks_is_no_other_process(tmp_path, monkeypatch, caplog):
    def flock(file, how):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("eval.store.fcntl.flock", flock)
    with Journal(tmp_path / "journal-1of1.jsonl") as journal:
        journal.add([DONE])
    assert read_outcomes(tmp_path) == {"a": DONE} and "cannot be locked" in caplog.text


class Excerpts(ToyQuestions):
    """Frames of the excerpt that an id names: "a-0/late" is about other frames than "a-1/early"."""

    def build(self, item):
        shown = SimpleNamespace(num_frames=4, height=10, width=10)
        ref = SimpleNamespace(key=item.id.partition("/")[2], metadata=shown)
        return replace(super().build(item), media=(ref,))


def test_excerpts_of_one_video_are_each_in_the_byte_budget(tmp_path):
    items = [item(f"a-{n}/{part}", "a") for part in ("early", "late", "last") for n in range(2)]
    questions, engine = Excerpts(), ToyEngine()
    assert num_bytes([questions.build(one) for one in items]) == 3 * 4 * 3 * 100
    with Journal(tmp_path / "journal-1of1.jsonl") as journal:
        run = BenchmarkRun(questions=questions, items=tuple(items), unjudged=(), journal=journal)
        asyncio.run(Pipeline(Answerer(lambda: engine, PLAN), Limits(pixel_bytes=4 * 3 * 100 + 1)).run([run]))
    assert len(read_outcomes(tmp_path)) == 6 and engine.most_running == 2
    assert [name for name, tokens in engine.asked if tokens == 1] == ["a-0/early", "a-0/late", "a-0/last"]


def flags(*more):
    parser = argparse.ArgumentParser()
    add_run_flags(parser)
    return parser.parse_args(["--model", ".", "--benchmarks", "videomme, mvbench,videomme", "--device", "cpu", *more])


@pytest.mark.parametrize("wrong", ["--limit=0", "--limit=-1", "--fps=0", "--fps=nan", "--max_frames=0", "--engines=0"])
def test_numbers_that_mean_nothing_are_refused(wrong):
    with pytest.raises(SystemExit):
        flags(wrong)


def test_a_benchmark_is_asked_once_and_misspelt_flags_are_not_ignored():
    assert run_options(flags("--annotations", "mvbench=x")).benchmarks == ("videomme", "mvbench")
    with pytest.raises(ConfigError, match="did you mean 'mvbench'"):
        run_options(flags("--annotations", "mvbnch=x"))
    with pytest.raises(ConfigError, match="--model=gone/gone is neither a folder"):
        run_options(flags("--model", "gone/gone"))
    with pytest.raises(ConfigError, match="both --judge_url and --judge_model"):
        judge_config(flags("--judge_model", "m"))


def test_what_cannot_work_ends_before_an_engine_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("eval.__main__.signal", type("Signal", (), {"signal": lambda *_: None, "SIGTERM": None}))
    monkeypatch.setattr("eval.runner.open_engine", None)
    (tmp_path / "own.py").write_text("from dataclasses import replace\nfrom tests.unit.eval.world import *\n"
                                     "def read(path):\n    return [media_item('a-0', path.parent / 'gone.mp4')]\n"
                                     "TOY = replace(TOY, read=read)\n")  # fmt: skip
    (tmp_path / "toy.json").write_text("[]")
    (tmp_path / "toy").mkdir()
    tiny_model(tmp_path / "model", tied=True)
    where = ["--model", f"{tmp_path}/model", "--data_root", str(tmp_path), "--output_dir", f"{tmp_path}/out"]
    where += ["--benchmarks", f"{tmp_path}/own.py:TOY", "--device", "cpu"]

    def told(command, *more):
        assert main([command, *where, *more]) == 2
        return capsys.readouterr().err

    assert "none of its 1 media files is in" in told("run") and "gone.mp4" in told("run")
    assert "leaves none of 64 for the prompt" in told("run", "--max_model_len", "64")
    assert "not all is answered of toy" in told("merge")
    (tmp_path / "toy").rmdir()
    assert "no videos of Toy" in told("run") and "not all is answered of toy" in told("merge", "--blind")


def test_engines_share_the_cores_of_a_machine_without_gpus(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert fleet._environment("", 3)["OMP_NUM_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in fleet._environment("0,1", 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert fleet._environment("", 3)["OMP_NUM_THREADS"] == "5"


def test_engines_do_not_outlive_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "GRACE_SECONDS", 0.05)
    engine = tmp_path / "engine"
    engine.write_text("#!/bin/sh\nexec sleep 60\n")
    engine.chmod(0o755)
    monkeypatch.setattr(fleet.sys, "executable", str(engine))
    before, found = set(psutil.Process().children()), []
    ignoring = signal.signal(signal.SIGINT, signal.default_int_handler)  # as a shell's background jobs do

    def interrupt():
        while len(found) < 2:
            found[:] = [one for one in set(psutil.Process().children()) - before if one.name() == "sleep"]
        time.sleep(0.3)  # until run_fleet knows both
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            fleet.run_fleet([], fleet.Shard(), ["", ""])
    finally:
        signal.signal(signal.SIGINT, ignoring)
    assert not any(one.is_running() for one in found)
