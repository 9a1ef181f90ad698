# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from verl.errors import ConfigError, DataError
from verl.tracking.backends.console import table
from verl.tracking.curve import draw, read_log
from verl.tracking.generations import Generation
from verl.tracking.tracker import TRACKERS, Run, Trackers, open_trackers

SAMPLE = Generation(id="a7", problem="How many?", response="<answer>3</answer>", answer="4", score=0.1)


def run(directory: Path) -> Run:
    return Run(project="videos", experiment="first", directory=directory, config={"trainer": {"max_steps": 3}})


def tracked(directory: Path, *names: str) -> Trackers:
    return open_trackers(names, run(directory))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_backend_gets_everything() -> None:
    class Fake:
        def __init__(self) -> None:
            self.calls: list[object] = []

        def resume(self, step: int) -> None:
            self.calls.append(("resume", step))

        def log(self, values: Mapping[str, float], step: int) -> None:
            self.calls.append((dict(values), step))

        def generations(self, rows: Sequence[Generation], step: int) -> None:
            self.calls.append((list(rows), step))

        def close(self) -> None:
            self.calls.append("close")

    backends = [Fake(), Fake()]
    trackers = Trackers(backends)
    trackers.resume(1)
    trackers.log({"x": 1.0}, 2)
    trackers.generations([SAMPLE], 2)
    trackers.generations([], 2)
    trackers.close()
    expected = [("resume", 1), ({"x": 1.0}, 2), ([SAMPLE], 2), "close"]
    assert [backend.calls for backend in backends] == [expected, expected]


def test_the_four_backends_are_known_and_a_misspelt_one_is_named(tmp_path: Path) -> None:
    assert set(TRACKERS) >= {"console", "file", "tensorboard", "wandb"}  # and those of tests that ran before
    with pytest.raises(ConfigError, match="unknown logger 'tensorbord'; did you mean 'tensorboard'"):
        tracked(tmp_path, "tensorbord")


# file -----------------------------------------------------------------------------------------------------


def test_the_file_backend_writes_a_line_per_step_and_the_configuration(tmp_path: Path) -> None:
    trackers = tracked(tmp_path, "file")
    trackers.log({"actor/pg_loss": 0.5, "actor/grad_norm": float("nan")}, 1)
    trackers.generations([SAMPLE], 1)
    assert rows(tmp_path / "experiment_log.jsonl") == [{"step": 1, "actor/pg_loss": 0.5, "actor/grad_norm": None}]
    assert rows(tmp_path / "generations.jsonl") == [
        {"step": 1, "id": "a7", "problem": "How many?", "response": "<answer>3</answer>", "answer": "4", "score": 0.1}
    ]
    assert json.loads((tmp_path / "experiment_config.json").read_text()) == {"trainer": {"max_steps": 3}}


def test_after_a_resume_every_step_has_one_value(tmp_path: Path) -> None:
    first = tracked(tmp_path, "file")
    for step in (1, 2, 3):
        first.log({"x": float(step)}, step)
    first.close()
    with (tmp_path / "experiment_log.jsonl").open("a") as file:
        file.write('{"step": 4, "x"')  # killed here
    second = tracked(tmp_path, "file")
    second.resume(2)
    second.log({"x": 30.0}, 3)
    assert rows(tmp_path / "experiment_log.jsonl") == [
        {"step": 1, "x": 1.0},
        {"step": 2, "x": 2.0},
        {"step": 3, "x": 30.0},
    ]


def test_a_run_that_starts_anew_sets_the_earlier_log_aside(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        trackers = tracked(tmp_path, "file")
        trackers.log({"x": value}, 1)
        trackers.close()
    assert rows(tmp_path / "experiment_log.jsonl") == [{"step": 1, "x": 2.0}]
    assert rows(tmp_path / "experiment_log.jsonl.old") == [{"step": 1, "x": 1.0}]


# console --------------------------------------------------------------------------------------------------


def test_the_console_shows_a_line_per_group() -> None:
    lines = table({"reward/overall": 0.25, "actor/lr": 1e-6, "actor/pg_loss": 1 / 3})
    assert [line.split() for line in lines] == [
        ["actor", "lr", "1e-06", "pg_loss", "0.3333"],
        ["reward", "overall", "0.25"],
    ]


def test_long_groups_wrap_between_metrics_and_never_inside_one() -> None:
    lines = table({f"timing_s/span_{i}": 1.5 for i in range(40)})
    assert len(lines) > 1
    assert max(map(len, lines)) <= 120
    assert all(cell.count(" ") == 1 for line in lines for cell in line[20:].strip().split("  "))


def test_the_console_shows_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trackers = tracked(tmp_path, "console")
    trackers.log({"val/reward_score": 0.5}, 4)
    trackers.generations([SAMPLE], 4)
    shown = capsys.readouterr().out
    for part in ("step 4", "reward_score 0.5", "sample a7", "<answer>3</answer>", "score 0.1", "answer 4"):
        assert part in shown


# tensorboard ----------------------------------------------------------------------------------------------


def test_tensorboard_hides_the_steps_a_resumed_run_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing import event_accumulator as reader

    monkeypatch.delenv("TENSORBOARD_DIR", raising=False)
    first = tracked(tmp_path, "tensorboard")
    for step in (1, 2, 3):
        first.log({"x": float(step)}, step)
    first.close()
    second = tracked(tmp_path, "tensorboard")
    second.resume(1)
    second.log({"x": 20.0}, 2)
    second.generations([SAMPLE], 2)
    second.close()
    events = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("x")] == [(1, 1.0), (2, 20.0)]
    assert "generations/a7/text_summary" in events.Tags()["tensors"]


# wandb ----------------------------------------------------------------------------------------------------


class FakeWandb:
    def __init__(self) -> None:
        self.inits: list[dict[str, Any]] = []
        self.logged: list[tuple[dict[str, Any], int]] = []
        self.util = SimpleNamespace(generate_id=lambda: f"id{len(self.inits)}")

    def Table(self, **content: Any) -> dict[str, Any]:
        return content

    def init(self, **arguments: Any) -> Any:
        self.inits.append(arguments)
        return SimpleNamespace(log=lambda values, step: self.logged.append((values, step)), finish=lambda: None)


def test_wandb_continues_its_run_only_on_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
    for is_resumed in (False, True, False):
        trackers = tracked(tmp_path, "wandb")
        if is_resumed:
            trackers.resume(1)
        trackers.log({"x": 1.0}, 2)
        trackers.generations([SAMPLE], 2)
        trackers.close()
    assert [arguments["id"] for arguments in fake.inits] == ["id0", "id0", "id2"]
    assert fake.inits[0]["project"] == "videos" and fake.inits[0]["name"] == "first"
    assert fake.logged[0] == ({"x": 1.0}, 2)
    table = fake.logged[1][0]["val/generations"]
    assert dict(zip(table["columns"], table["data"][0], strict=True))["response"] == SAMPLE.response


def test_a_backend_that_is_not_installed_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="pip install wandb"):
        tracked(tmp_path, "wandb")


# curve ----------------------------------------------------------------------------------------------------


def test_a_log_is_read_back_by_step(tmp_path: Path) -> None:
    trackers = tracked(tmp_path, "file")
    trackers.log({"val/reward_score": 0.1}, 0)
    trackers.log({"x": 1.0, "bad": float("inf")}, 1)
    trackers.log({"val/reward_score": 0.2}, 1)
    expected = {0: {"val/reward_score": 0.1}, 1: {"x": 1.0, "val/reward_score": 0.2}}
    assert read_log(tmp_path / "experiment_log.jsonl") == expected


def test_a_curve_is_a_picture(tmp_path: Path) -> None:
    trackers = tracked(tmp_path, "file")
    for step in range(5):
        trackers.log({"reward/overall": step / 5}, step)
    draw(tmp_path / "experiment_log.jsonl", tmp_path / "plots" / "curve.png")
    assert (tmp_path / "plots" / "curve.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DataError, match=r"none of nonsense \(it has: reward/overall\)"):
        draw(tmp_path / "experiment_log.jsonl", tmp_path / "curve.png", ["nonsense"])


def test_no_log_is_an_error_that_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"add 'file' to trainer\.logger"):
        read_log(tmp_path / "experiment_log.jsonl")
