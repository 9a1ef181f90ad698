# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A process is killed in the middle of a run: the run ends soon, says who died, leaves nobody, and can go on."""

from __future__ import annotations

import os
import signal

import pytest

from tests.runs import Run, make_world

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ENDS_WITHIN_SECONDS = 60.0


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("failures"))


def resumed_at(log: str) -> int:
    return int(log.rpartition("(step ")[2].partition(")")[0])


def test_each_death_is_named_leaves_no_orphan_and_is_resumed_from(world):
    """One after the other on one checkpoint folder, so that every start but the first is also a resume."""
    policy = ("ray::PolicyWorker", "policy rank")
    engine = ("EngineCore", "engine of rollout server 0 died")
    done = 0
    for process, culprit in (policy, engine):
        run = Run.start(world, "trainer.max_steps=1000", "trainer.save_freq=2")
        try:
            run.wait_for_step(done + 3)
            run.kill(process)
            assert run.wait_for_end(ENDS_WITHIN_SECONDS) == 1
            assert culprit in run.log.strip().splitlines()[-1]
            run.wait_until_gone()
            done = max(run.steps())
        finally:
            run.clean_up()
    run = Run.start(world, "trainer.max_steps=1000", "trainer.save_freq=2")
    try:
        run.wait_for_step(done + 1)
        assert resumed_at(run.log) in (done, done - 1)
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait()
        run.wait_until_gone()
        assert run.steps() == list(range(1, max(run.steps()) + 1))
    finally:
        run.clean_up()
