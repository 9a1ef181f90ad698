# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Verdicts on disk: found again, by other processes too, and not when anything about the question has changed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.judge_endpoint import Answer, FakeEndpoint, case, judging
from verl.config.judge import JudgeConfig
from verl.errors import ConfigError
from verl.rewards.judge import Judge
from verl.rewards.judge_cache import VerdictCache
from verl.rewards.judge_prompt import JudgeCase
from verl.types import NotScorable, Score


def test_verdicts_are_kept_and_a_changed_recipe_asks_again(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"cache_dir": str(tmp_path)}
    with FakeEndpoint() as endpoint:
        settings |= {"base_url": endpoint.url, "model": "m"}

        def asks(cases: list[JudgeCase], **changes: Any) -> int:
            before = len(endpoint.asked)
            judge = Judge(JudgeConfig(**settings | changes))
            assert all(isinstance(verdict, Score) for verdict in judge.judge(cases))
            judge.close()
            return len(endpoint.asked) - before

        assert [asks([case()]), asks([case()])] == [1, 0]
        (tmp_path / "p.txt").write_text("be kind")
        changes: list[dict[str, Any]] = [
            {"model": "n"},
            {"base_url": endpoint.url.replace("127.0.0.1", "localhost")},
            {"temperature": 0.5},
            {"max_tokens": 65},
            {"structured_output": "none"},
            {"extra_body": {"seed": 1}},
            {"prompt_path": str(tmp_path / "p.txt")},
            {"max_response_chars": 3},
        ]
        assert [asks([case()], **change) for change in changes] == [1] * len(changes)
        (tmp_path / "p.txt").write_text("be strict")
        assert asks([case()], prompt_path=str(tmp_path / "p.txt")) == 1
        others = [case(question="?"), case(references=("b",)), case(options=("A",)), case(rubric="r"), case("blue")]
        assert asks(others) == len(others)
        assert asks([case(), *others]) == 0


def test_failures_are_not_kept(tmp_path: Path) -> None:
    with judging(Answer("dunno"), Answer(), cache_dir=str(tmp_path)) as (judge, _):
        assert isinstance(judge.judge([case()])[0], NotScorable)
        assert judge.judge([case()]) == [Score(overall=1.0)]


WRITER = """
import sys
from pathlib import Path
from verl.rewards.judge_cache import VerdictCache
cache, who = VerdictCache(Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for n in range(10**9 if who == "killed" else 300):
    cache.add(f"{who}-{n}", 0.5, "m")
    cache.add(f"shared-{n}", 0.25, who)
    if n == 20:
        print("written", flush=True)
"""


def test_processes_share_a_cache_and_one_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    writers = {
        who: subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), who], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for who in ("a", "b", "killed")
    }
    for writer in writers.values():
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for writer in writers.values():
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert writers["killed"].stdout is not None and writers["killed"].stdout.readline() == "written\n"
    writers["killed"].kill()
    codes = {who: (writer.communicate(), writer.returncode)[1] for who, writer in writers.items()}
    assert (codes["a"], codes["b"]) == (0, 0)
    cache = VerdictCache(tmp_path)
    mine = [f"{who}-{n}" for who in ("a", "b") for n in range(300)] + [f"killed-{n}" for n in range(20)]
    shared = [f"shared-{n}" for n in range(300)]
    assert cache.find(mine) == dict.fromkeys(mine, 0.5)
    assert cache.find(shared) == dict.fromkeys(shared, 0.25)
    cache.close()


def test_a_cache_that_is_no_cache_is_named(tmp_path: Path) -> None:
    with judging(cache_dir=str(tmp_path)) as (judge, _):
        judge.judge([case()])
    [file] = tmp_path.glob("*.sqlite")
    with sqlite3.connect(file) as database:
        database.execute("UPDATE verdicts SET score = 7")
    database.close()
    with judging(cache_dir=str(tmp_path)) as (judge, endpoint):
        assert judge.judge([case()]) == [Score(overall=1.0)]
        assert len(endpoint.asked) == 1
    file.write_text("not a database, but as long as the header of one would be, and then some more text to be sure" * 9)
    with pytest.raises(ConfigError, match="verdicts-"):
        Judge(JudgeConfig(base_url="http://localhost/v1", model="m", cache_dir=str(tmp_path)))
