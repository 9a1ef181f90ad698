# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The whole command, with an engine that is none, where files may not grow: they end as on a disk that is full."""

from __future__ import annotations

import json
import resource
from contextlib import contextmanager

import pytest

from eval.__main__ import main
from tests.unit.eval.test_annotations import ROWS
from tests.unit.eval.world import ToyEngine
from tests.world import tiny_model
from verl.errors import WorkerError

COUNT = 60


@contextmanager
def files_up_to(num_bytes):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def start(tmp_path, monkeypatch, capsys):
    """Starts a blind run in a folder; its exit status, what it said, and its engine."""
    monkeypatch.setattr("eval.__main__.signal", type("Signal", (), {"signal": lambda *_: None, "SIGTERM": None}))
    (tmp_path / "data" / "videomme" / "videos").mkdir(parents=True)
    rows = [{**ROWS["videomme"][0], "problem_id": number} for number in range(COUNT)]
    (tmp_path / "data" / "videomme.json").write_text(json.dumps(rows))
    tiny_model(tmp_path / "model", tied=True)

    def run(folder, engine=None):
        engine = engine or ToyEngine()
        monkeypatch.setattr("eval.runner.open_engine", lambda *_: engine)
        where = {"--data_root": "data", "--output_dir": folder, "--cache_dir": "cache", "--model": "model"}
        flags = [part for flag, name in where.items() for part in (flag, str(tmp_path / name))]
        status = main(["run", "--benchmarks", "videomme", "--blind", "--device", "cpu", *flags])
        return status, capsys.readouterr().err, engine

    return run


def results(folder):
    return [path.read_text() for path in folder.rglob("results.jsonl")]


def test_a_full_disk_ends_a_run_in_words_and_the_next_start_goes_on(tmp_path, start):
    assert start("whole")[0] == 0
    with files_up_to(12_000):
        status, said, _ = start("torn")
    assert status == 1 and "StoreError" in said and "make room and start the same command again" in said
    (journal,) = (tmp_path / "torn").rglob("journal-*.jsonl")
    kept = [json.loads(line)["id"] for line in journal.read_text().splitlines()]
    assert 0 < len(kept) < COUNT and journal.read_text().endswith("\n") and results(tmp_path / "torn") == []
    status, said, second = start("torn")
    assert status == 0
    assert results(tmp_path / "torn") == results(tmp_path / "whole")
    assert not {name for name, _ in second.asked} & set(kept)


def test_a_disk_with_room_for_answers_alone_keeps_them(tmp_path, start):
    assert start("torn")[0] == 0
    (path,) = (tmp_path / "torn").rglob("results.jsonl")
    (wanted,) = results(tmp_path / "torn")
    path.unlink()
    with files_up_to(10_000):
        status, said, _ = start("torn")
    assert (status, "results.jsonl: File too large; the disk is full" in said) == (1, True), said
    assert not any(one.name.endswith(".tmp") for one in path.parent.iterdir())
    status, _, engine = start("torn")
    assert status == 0 and engine.asked == [] and results(tmp_path / "torn") == [wanted]


class Broken(ToyEngine):
    async def start(self) -> None:
        raise WorkerError("there is no memory for it")


def test_an_engine_that_does_not_start_is_said_in_words(start):
    status, said, _ = start("none", Broken())
    assert status == 1 and said.rstrip().endswith("eval: EngineLostError: there is no memory for it")
