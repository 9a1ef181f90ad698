# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import sys
import time
from dataclasses import replace

import pytest

from tests.unit.media import accidents
from verl.errors import WorkerError
from verl.media.crew import Cause, Crew, Lost, Queue, Work
from verl.media.worker import PRELOAD

WORK = Work(
    function=accidents.act,
    prepare=accidents.prepare,
    size=2,
    timeout_seconds=1.0,
    preload=PRELOAD,  # whoever comes first in a test process decides what is shared
)


def run(queue, **changes):
    return Crew(replace(WORK, **changes)).run(queue)


def test_accidents_cost_one_task_each():
    tasks = ["a", "crash", "raise", "hang", "leave", "killed", "b", "c"]
    assert dict(run(Queue(tasks))) == {
        "a": "A",
        "b": "B",
        "c": "C",
        "crash": Lost("its process died (SIGSEGV)", Cause.DIED),
        "killed": Lost("its process died (SIGKILL)", Cause.KILLED),
        "raise": Lost("RuntimeError: on purpose", Cause.RAISED),
        "hang": Lost("not finished after 1 seconds", Cause.TIMEOUT),
        "leave": Lost("its process died (exit code 3)", Cause.DIED),
    }


def test_processes_that_cannot_start_are_an_error_and_not_an_endless_loop():
    with pytest.raises(WorkerError, match=r"cannot start.*exit code 4"):
        list(run(Queue(["a"]), prepare=accidents.fail_to_prepare))


def test_no_tasks_start_no_process():
    assert list(run(Queue(), prepare=accidents.fail_to_prepare)) == []


def test_a_process_makes_room_for_another_after_its_share_of_tasks():
    pids = [pid for _, pid in run(Queue(["pid"] * 6), size=1, tasks_per_process=2)]
    assert len(set(pids)) == 3
    assert all(first == second for first, second in zip(pids[::2], pids[1::2], strict=True))


def test_processes_do_not_import_the_program_again():
    spec = sys.modules["__main__"].__spec__
    assert dict(run(Queue(["main"]), size=1)) == {"main": "__main__"}
    assert sys.modules["__main__"].__spec__ is spec


def test_a_process_that_grows_too_large_ends_itself():
    ((_, lost),) = run(Queue(["a"]), function=accidents.swell, prepare=accidents.prepare_small, timeout_seconds=20)
    assert lost == Lost("its process took more memory than it may", Cause.OVERWEIGHT)


def test_tasks_may_be_put_off_and_left_undone_while_the_work_goes_on():
    queue = Queue(["a", "b", "c", "d"])
    seen = []
    for task, _ in run(queue, size=1):
        seen.append(task)
        if task == "a" and seen.count("a") == 1:
            queue.put_off("a", 0.05)
        if task == "b":
            time.sleep(0.06)
        if task == "c":
            assert queue.close() == ["d"]
    assert seen == ["a", "b", "a", "c"]
