# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.unit.media import accidents
from verl.errors import WorkerError
from verl.media.crew import Crew, Lost


def test_accidents_cost_one_task_each():
    crew = Crew(accidents.act, 2, 3.0, prepare=accidents.prepare)
    tasks = ["a", "crash", "raise", "hang", "leave", "b", "c"]
    outcomes = dict(crew.run(tasks))
    assert outcomes == {
        "a": "A",
        "b": "B",
        "c": "C",
        "crash": Lost("its process died (SIGSEGV)"),
        "raise": Lost("RuntimeError: on purpose", raised=True),
        "hang": Lost("not finished after 3 seconds"),
        "leave": Lost("its process died (exit code 3)"),
    }


def test_processes_that_cannot_start_are_an_error_and_not_an_endless_loop():
    crew = Crew(accidents.act, 1, 3.0, prepare=accidents.fail_to_prepare)
    with pytest.raises(WorkerError, match=r"cannot start.*exit code 4"):
        list(crew.run(["a"]))


def test_no_tasks_start_no_process():
    assert list(Crew(accidents.act, 2, 3.0, prepare=accidents.fail_to_prepare).run([])) == []
