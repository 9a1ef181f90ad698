# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace
from pathlib import Path

from examples.quickstart.all_kinds import ALL_KINDS
from examples.quickstart.by_kind import Outcome, answers_of, best_constant, draw, outcomes, table
from tests.rows import record
from tests.runs import ROOT
from tests.world import tiny_rows
from verl.config.load import load
from verl.rewards.router import Router


def outcome(**changes) -> Outcome:
    one = Outcome(task="boolean", count=25, constant=0.5, before=0.5, after=1.0, training=(0.0, 0.55, 1.0))
    return replace(one, **changes)


def test_a_table_shows_the_way_from_before_to_after():
    _, line, mean = table([outcome()])
    assert line.split() == ["boolean", "25", "0.50", "0.50", "1.00", "+@"] and "  " + " +@" in line
    assert mean.split() == ["mean", "25", "0.50", "0.50", "1.00"]


def test_a_rise_within_chance_is_none():
    assert outcome(after=0.61).has_risen
    assert not outcome(after=0.59).has_risen
    assert "has not risen" in table([outcome(after=0.4)])[1]


def test_a_blind_answer_is_worth_its_share():
    rows = [record(answer=answer, problem_type="boolean") for answer in ("Yes", "Yes", "No")]
    assert best_constant(Router(), ALL_KINDS["boolean"], rows) == 2 / 3
    assert answers_of(ALL_KINDS["boolean"]) == ["Yes", "No"]


def test_a_run_is_read_task_by_task(tmp_path: Path):
    tiny_rows(tmp_path, 8, kinds="colour,boolean", split="val")
    log = [{"step": step, "val/boolean/accuracy": step / 2, "reward/boolean/accuracy": 0.5} for step in range(3)]
    (tmp_path / "experiment_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    config = load(
        [
            f"config={ROOT / 'examples/quickstart/all_kinds.yaml'}",
            f"data.val_files=[{tmp_path / 'val.jsonl'}]",
            f"trainer.save_checkpoint_path={tmp_path}",
        ]
    )
    (found,) = outcomes(config)
    assert (found.task, found.before, found.after, found.training) == ("boolean", 0.0, 1.0, (0.5, 0.5, 0.5))
    assert found.count == sum("boolean" in line for line in (tmp_path / "val.jsonl").read_text().splitlines())
    draw({row["step"]: row for row in log}, [found], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
