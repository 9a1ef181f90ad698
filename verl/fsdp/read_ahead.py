# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Preparing what comes next while the caller works."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Item = TypeVar("Item")


def read_ahead(
    jobs: Sequence[Job], make: Callable[[Job], Item], num_bytes: Callable[[Job], int], max_bytes: int
) -> Iterator[Item]:
    """`make(job)` of every job, in order. One thread makes them, one after another, ahead of the caller.

    What is made or being made beyond the item in the caller's hands takes `max_bytes` at most, by `num_bytes`, but
    the next item is always begun. An error comes out where its item would have. A caller that stops early waits for the
    one item that is being made.
    """
    todo = deque(jobs)
    begun: deque[tuple[Future[Item], int]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="preparing")

    def begin() -> None:
        room = max_bytes - sum(size for _, size in begun)
        while todo and (not begun or num_bytes(todo[0]) <= room):
            job = todo.popleft()
            begun.append((pool.submit(make, job), num_bytes(job)))
            room -= num_bytes(job)

    try:
        begin()
        while begun:
            item = begun.popleft()[0].result()
            begin()
            yield item
            del item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
