# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from verl.config.checks import check
from verl.config.load import load
from verl.errors import ConfigError

JUDGE = "worker.reward.judge."


def broken(tmp_path: Path, *changes: str) -> list[str]:
    """What the checks say about the judge."""
    (tmp_path / "reward.py").touch()
    given = [f"{JUDGE}base_url=http://localhost:8000/v1", f"{JUDGE}model=m", "data.train_files=rows.json"]
    try:
        check(load([*given, *(change.format(tmp=tmp_path) for change in changes)]))
    except ConfigError as error:
        return [line for line in str(error).splitlines() if JUDGE in line]
    return []


def test_a_judge_with_an_endpoint_and_a_model_breaks_no_rule(tmp_path: Path) -> None:
    assert broken(tmp_path) == []
    assert broken(tmp_path, f"{JUDGE}extra_body.chat_template_kwargs.enable_thinking=false") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (f"{JUDGE}base_url=localhost:8000", "write http://host:port/v1"),
        (f"{JUDGE}base_url=http://host:port/v1", "write http://host:port/v1"),
        (f"{JUDGE}base_url=http://host/v1?key=x", "write http://host:port/v1"),
        (f"{JUDGE}base_url=http://me:secret@host/v1", "holds a name or password"),
        (f"{JUDGE}model=null", "model is not set"),
        (f"{JUDGE}prompt_path=no.txt", "prompt_path=no.txt: there is no such file"),
        (f"{JUDGE}max_concurrency=0", "max_concurrency=0: must be at least 1"),
        (f"{JUDGE}max_retries=-1", "max_retries=-1: must not be negative"),
        (f"{JUDGE}timeout_seconds=0", "timeout_seconds=0.0: must be above 0"),
        (f"{JUDGE}deadline_seconds=.nan", "deadline_seconds=nan: must be above 0"),
        (f"{JUDGE}deadline_seconds=300", "must be less than worker.reward.timeout_seconds=300.0"),
        ("worker.reward.reward_function={tmp}/reward.py", "worker.reward.reward_function scores here"),
    ],
)
def test_a_rule_that_is_broken_is_named(tmp_path: Path, change: str, message: str) -> None:
    [found] = broken(tmp_path, change)
    assert message in found
    assert "secret" not in found


def test_without_an_endpoint_nothing_of_the_section_is_read(tmp_path: Path) -> None:
    assert broken(tmp_path, f"{JUDGE}base_url=null", f"{JUDGE}max_concurrency=0") == []
