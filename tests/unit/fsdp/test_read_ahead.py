# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Events are waited for, never time: what overlaps would hang otherwise, and the wait ends the test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch.distributed.device_mesh import init_device_mesh

from tests import policy_world, world
from tests.policy_world import World
from verl.errors import MediaError
from verl.fsdp.policy import FrozenPolicy
from verl.fsdp.read_ahead import read_ahead
from verl.fsdp.update import Passes
from verl.models.adapter import ModelAdapter, load_adapter
from verl.tracking.metrics import Mean, Metrics
from verl.types import MediaRef, Trajectory, VideoClip

SOON = 20.0  # seconds until a test that waits for nothing gives up


def ten(_: int) -> int:
    return 10


@pytest.mark.parametrize("max_bytes", [0, 10, 25, 1000])
def test_items_come_in_order_and_one_thread_that_is_not_ours_makes_them(max_bytes: int) -> None:
    threads: set[int] = set()

    def make(job: int) -> int:
        threads.add(threading.get_ident())
        return job * job

    assert list(read_ahead(range(20), make, ten, max_bytes)) == [job * job for job in range(20)]
    assert len(threads) == 1 and threading.get_ident() not in threads
    assert not list(read_ahead([], make, ten, max_bytes))


def test_the_next_item_is_made_while_the_caller_works() -> None:
    made = [threading.Event() for _ in range(5)]

    def make(job: int) -> int:
        made[job].set()
        return job

    for job in read_ahead(range(5), make, ten, 0):
        assert all(event.wait(SOON) for event in made[: job + 2])


@pytest.mark.parametrize(("max_bytes", "ahead"), [(0, 1), (10, 1), (29, 2), (30, 3), (1000, 6)])
def test_no_more_is_ahead_than_the_bound_allows(max_bytes: int, ahead: int) -> None:
    begun: list[int] = []
    turn = threading.Condition()

    def make(job: int) -> int:
        with turn:
            begun.append(job)
            turn.notify_all()
        return job

    for job in read_ahead(range(7), make, ten, max_bytes):
        expected = min(job + 1 + ahead, 7)
        with turn:
            assert turn.wait_for(lambda want=expected: len(begun) >= want, SOON)
        assert len(begun) == expected


def test_an_error_comes_in_its_turn_and_the_thread_ends() -> None:
    def make(job: int) -> int:
        if job == 2:
            raise MediaError("row 2: a hole")
        return job

    found = []
    with pytest.raises(MediaError, match="row 2: a hole"):
        for item in read_ahead(range(5), make, ten, 1000):
            found.append(item)
    assert found == [0, 1]
    assert threads_of("preparing") == []


def test_a_caller_that_stops_early_leaves_no_thread_behind() -> None:
    begun: list[int] = []
    with pytest.raises(ValueError, match="of the caller"):
        for _ in read_ahead(range(50), lambda job: begun.append(job), ten, 0):
            raise ValueError("of the caller")
    assert len(begun) <= 2
    assert threads_of("preparing") == []


def threads_of(prefix: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> ModelAdapter:
    return load_adapter(str(world.tiny_model(tmp_path_factory.mktemp("ahead") / "model")))


@pytest.fixture(autouse=True)
def group(tmp_path: Path) -> None:
    policy_world.one_rank(tmp_path)


def some_rows(made: World) -> list[Trajectory]:
    """Two rows about each of four clips: a micro-batch of 60 tokens each."""
    clips = [made.clip(key) for key in "abcd"]
    return [row for group, clip in enumerate(clips) for row in made.rows(made.prompt(f"p{group}", clip), group, [5, 3])]


def passes(made: World) -> Passes:
    return Passes(packer=made.packer, token_budget=60, device="cpu")


def watched(made: World, before: Callable[[MediaRef], None]) -> None:
    """`before` is called with every clip that is asked for."""
    load = made.reader.load

    def slow(ref: MediaRef) -> VideoClip:
        before(ref)
        return load(ref)

    made.reader.load = slow


def test_a_clip_is_read_while_the_micro_batch_before_computes(adapter: ModelAdapter) -> None:
    """The reader of the second clip waits until the caller has the first; the caller, until that reader has begun."""
    made = World(adapter)
    reading, computing = threading.Event(), threading.Event()

    def before(ref: MediaRef) -> None:
        if made.reader.opens == 1:
            reading.set()
            assert computing.wait(SOON)

    watched(made, before)
    batches = passes(made).micro_batches(some_rows(made))
    next(batches)
    assert reading.wait(SOON)
    computing.set()
    assert len(list(batches)) == 3
    assert (made.reader.opens, made.reader.distinct) == (4, 4)


def test_numbers_and_loads_are_those_of_one_after_another(
    adapter: ModelAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two_passes() -> tuple[list[float], Metrics]:
        made = World(adapter)
        settings = policy_world.policy_settings(token_budget=60)
        policy = FrozenPolicy(made.packer, settings, init_device_mesh("cpu", (1,)))
        values = [row for _ in range(2) for row in policy.logprobs(some_rows(made))]
        return np.concatenate(values).tolist(), made.patches.end_step()

    ahead = two_passes()
    monkeypatch.setattr("verl.fsdp.update.read_ahead", lambda jobs, make, *_: map(make, jobs))
    assert ahead == two_passes()
    assert ahead[1]["media/loads_per_clip"] == Mean(4, 4)


def test_a_clip_that_breaks_is_told_with_its_record_after_the_passes_before_it(adapter: ModelAdapter) -> None:
    made = World(adapter)

    def before(ref: MediaRef) -> None:
        if ref.key == "c":
            raise MediaError(f"{ref.path} is gone")

    watched(made, before)
    rows, places = some_rows(made), []
    with pytest.raises(MediaError, match=r"^test:p2: c\.mp4 is gone$"):
        for batch in passes(made).micro_batches(rows):
            places.append(batch.order)
    assert places == [(0, 1), (2, 3)]
