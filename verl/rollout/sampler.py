# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of a data file -> scored attempts in a ledger: what the data tools share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from verl.errors import AlignmentError, DataError, WorkerError
from verl.rewards.contract import Reward, RewardItem
from verl.rollout.attempts import Attempt, Ledger, Tried, key_of
from verl.rollout.engine import SamplingPlan
from verl.rollout.writers import Writer, Written
from verl.types import Prompt, Record, Score, Verdict

SAY_EVERY_SECONDS = 30.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Run:
    """How far it has come."""

    num_left: int = 0
    failed_in_a_row: int = 0
    said: float = 0.0

    def begin(self, num_left: int, num_rows: int) -> None:
        self.num_left, self.said = num_left, time.monotonic()
        log.info("%d of %d rows to be tried, %d are done", num_left, num_rows, num_rows - num_left)

    def end(self, has_failed: bool, tried: Tried, most: int) -> None:
        """A row is done. Raises WorkerError when `most` of them in a row got no response."""
        self.num_left -= 1
        self.failed_in_a_row = self.failed_in_a_row + 1 if has_failed else 0
        if self.failed_in_a_row >= most:
            raise WorkerError(
                f"{most} rows in a row got no response at all, the last one, {tried.where}: {next(iter(tried.errors))}."
                " Find the cause, then run the command again with --retry_failed: what is done is kept"
            )
        if time.monotonic() - self.said > SAY_EVERY_SECONDS:
            self.said = time.monotonic()
            log.info("%d rows left", self.num_left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """Has every row answered `plan.n` times and the answers scored; rows that are in the ledger are left alone."""

    writer: Writer
    reward: Reward
    plan: SamplingPlan
    ledger: Ledger
    num_rows_at_once: int
    max_failed_in_a_row: int = 20  # rows without a single response, before it is taken for a fault of the set-up
    _run: _Run = field(default_factory=_Run)

    async def run(self, records: Sequence[Record], prompt_of: Callable[[int], Prompt]) -> None:
        """Work through the rows. `prompt_of` builds the prompt of a row, in a thread.

        Raises WorkerError when engine or endpoint fail for good, ContractError when the reward does. What was finished
        before is in the ledger.
        """
        keys = [key_of(record) for record in records]
        rows = iter([row for row, key in enumerate(keys) if key not in self.ledger])
        self._run.begin(sum(key not in self.ledger for key in keys), len(keys))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.num_rows_at_once):
                    group.create_task(self._work(rows, records, prompt_of))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _work(self, rows: Iterator[int], records: Sequence[Record], prompt_of: Callable[[int], Prompt]) -> None:
        for row in rows:
            record = records[row]
            try:
                prompt = await asyncio.to_thread(prompt_of, row)
                written = await self.writer.write(prompt, row, self.plan)
            except AlignmentError:
                raise
            except DataError as error:
                written = [Written(error=f"row: {str(error).removeprefix(f'{record.where}: ')}")]
            attempts = await asyncio.to_thread(self._score, record, written)
            tried = Tried(key=key_of(record), id=record.id, where=record.where, attempts=tuple(attempts))
            self.ledger.add(tried)
            self._run.end(all(one.error is not None for one in written), tried, self.max_failed_in_a_row)

    def _score(self, record: Record, written: Sequence[Written]) -> list[Attempt]:
        """Siblings are scored together, as in training."""
        items = [
            RewardItem(response=one.text, response_length=one.num_tokens, record=record, truncated=one.truncated)
            for one in written
            if one.error is None
        ]
        verdicts = iter(self.reward.score(items) if items else ())
        return [_attempt(one, None if one.error is not None else next(verdicts)) for one in written]


def _attempt(written: Written, verdict: Verdict | None) -> Attempt:
    if verdict is None:
        return Attempt(error=written.error)
    if not isinstance(verdict, Score):
        return Attempt(text=written.text, truncated=written.truncated, error=f"not scorable: {verdict.reason}")
    scores: Mapping[str, float] = {**verdict.parts, "overall": verdict.overall}
    return Attempt(text=written.text, truncated=written.truncated, scores=scores)


def failures(tried: Sequence[Tried]) -> list[tuple[int, str, str]]:
    """Why attempts have no score: how many, the reason, and the first row it happened to; the most frequent first."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for row in tried:
        counts.update(row.errors)
        for reason in row.errors:
            first.setdefault(reason, row.where)
    return [(count, reason, first[reason]) for reason, count in counts.most_common()]
