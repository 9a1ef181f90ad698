# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from verl.checkpoint.layout import CheckpointRoot, Tracker, read_state
from verl.checkpoint.retention import prune
from verl.errors import CheckpointError


def write(checkpoints: CheckpointRoot, step: int, best: int | None = None) -> Path:
    temporary = checkpoints.begin(step)
    (temporary / "actor" / "shards").mkdir(parents=True)
    (temporary / "actor" / "shards" / ".metadata").write_bytes(b"x")
    tracker = Tracker(last_global_step=step, best_global_step=best, best_val_reward_score=0.5 if best else None)
    return checkpoints.commit(temporary, {"step": step, "loader": {"epoch": 2}}, tracker)


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointRoot:
    return CheckpointRoot(tmp_path / "run")


def test_a_run_without_checkpoints_has_no_last_one(checkpoints: CheckpointRoot) -> None:
    assert checkpoints.find_last() is None
    assert checkpoints.complete() == []


def test_the_tracker_has_upstreams_keys(checkpoints: CheckpointRoot) -> None:
    final = write(checkpoints, 5, best=5)
    assert json.loads((checkpoints.root / "checkpoint_tracker.json").read_text()) == {
        "last_global_step": 5,
        "best_global_step": 5,
        "best_val_reward_score": 0.5,
        "last_actor_path": str((final / "actor").resolve()),
    }


def test_what_the_driver_remembers_comes_back(checkpoints: CheckpointRoot) -> None:
    assert read_state(write(checkpoints, 3)) == {"step": 3, "loader": {"epoch": 2}}


def test_a_save_that_was_cut_short_is_never_found_and_goes_at_the_next_one(checkpoints: CheckpointRoot) -> None:
    first = write(checkpoints, 1)
    cut_short = checkpoints.begin(2)
    (cut_short / "trainer_state.json").write_text("{}")
    assert checkpoints.find_last() == first
    write(checkpoints, 3)
    assert not cut_short.exists()


def test_a_folder_with_the_final_name_but_without_all_parts_is_no_checkpoint(checkpoints: CheckpointRoot) -> None:
    first = write(checkpoints, 1)
    broken = write(checkpoints, 2)
    (broken / "actor" / "shards" / ".metadata").unlink()
    assert checkpoints.find_last() == first
    with pytest.raises(CheckpointError, match=r"global_step_2 .*shards is incomplete.*load_checkpoint_path"):
        read_state(broken)


def test_commit_refuses_what_no_rank_wrote(checkpoints: CheckpointRoot) -> None:
    temporary = checkpoints.begin(4)
    with pytest.raises(CheckpointError, match="did every rank save"):
        checkpoints.commit(temporary, {}, Tracker(last_global_step=4))
    assert checkpoints.find_last() is None


def test_the_last_checkpoint_is_the_one_written_last_not_the_highest(checkpoints: CheckpointRoot) -> None:
    write(checkpoints, 50)
    later = write(checkpoints, 20)
    assert checkpoints.find_last() == later


def test_without_its_tracker_the_highest_complete_step_is_the_last(checkpoints: CheckpointRoot) -> None:
    write(checkpoints, 9)
    highest = write(checkpoints, 10)
    (checkpoints.root / "checkpoint_tracker.json").unlink()
    assert checkpoints.find_last() == highest


def test_a_step_can_be_saved_again(checkpoints: CheckpointRoot) -> None:
    (write(checkpoints, 7) / "stale").touch()
    assert not (write(checkpoints, 7) / "stale").exists()
    assert [path.name for path in checkpoints.root.iterdir() if path.name.startswith(".")] == []


def test_a_damaged_tracker_names_itself(checkpoints: CheckpointRoot) -> None:
    write(checkpoints, 1)
    (checkpoints.root / "checkpoint_tracker.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"checkpoint_tracker\.json is damaged"):
        checkpoints.find_last()


def test_pruning_takes_the_oldest_but_never_the_best(checkpoints: CheckpointRoot) -> None:
    for step in (1, 2, 3, 4, 5):
        write(checkpoints, step, best=2)
    assert prune(checkpoints, 3) == [1, 3]
    assert checkpoints.complete() == [2, 4, 5]


def test_pruning_to_one_leaves_the_newest_and_the_best(checkpoints: CheckpointRoot) -> None:
    for step in (1, 2, 3):
        write(checkpoints, step, best=1)
    assert prune(checkpoints, 1) == [2]
    assert checkpoints.complete() == [1, 3]


@pytest.mark.parametrize("limit", [-1, 0, 9])
def test_without_a_binding_limit_nothing_goes(checkpoints: CheckpointRoot, limit: int) -> None:
    for step in (1, 2):
        write(checkpoints, step)
    assert prune(checkpoints, limit) == []
