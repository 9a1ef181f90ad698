# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Responses from the data among those of the policy (LUFFY's mixed groups, arXiv 2504.14945)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from verl.config.trainer import Config
from verl.data.offline import OfflineReader, TextModel, offline_reader
from verl.data.order import shuffled
from verl.data.records import report
from verl.errors import ConfigError, DataError
from verl.trainer.groups import Group, of_policy, values_of
from verl.types import Prompt, Record, Score, Scored, Source, Trajectory

ACCURACY = "accuracy"  # the part of the score that the threshold is about

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixing:
    """Which responses from the data stand in a group of `group_size`, in the places of its last ones.

    Without a threshold that is known before anything is generated, so only the others are. With one, a whole group is
    generated first: its last responses run beside their siblings, where waiting for a verdict would leave the engines
    idle, and those whose place is taken are counted as discarded.
    """

    reader: OfflineReader
    group_size: int
    per_group: int = 1  # at most; fewer where a record has fewer
    threshold: float | None = None  # mean accuracy below which a group gets them; None: every group
    seed: int = 0

    @classmethod
    def of(cls, config: Config, model: TextModel, records: Sequence[Record]) -> Mixing | None:
        """As configured; None when nothing is mixed in. Raises ConfigError or DataError where `records` do not fit."""
        rollout = config.worker.rollout
        if not rollout.enable_mix_policy:
            return None
        reader = offline_reader(config, model)
        _check(records, reader)
        if config.worker.actor.off_policy_loss == "importance":
            _check_logprobs(records)
        return cls(
            reader=reader,
            group_size=rollout.n,
            per_group=rollout.mix_policy_max_responses,
            threshold=rollout.mix_policy_accuracy_threshold,
            seed=config.data.seed,
        )

    def candidates(self, prompts: Sequence[Prompt], step: int) -> list[list[Trajectory]]:
        """For every prompt the trajectories that may stand in its group. Of more than there is room for, each step
        draws some anew.
        """
        return [self._pick(prompt, group, step) for group, prompt in enumerate(prompts)]

    def num_generated(self, candidates: Sequence[Sequence[Trajectory]]) -> list[int]:
        """Responses to generate for every prompt."""
        if self.threshold is not None:
            return [self.group_size] * len(candidates)
        return [self.group_size - len(written) for written in candidates]

    def num_overlong(self, prompts: Sequence[Prompt]) -> int:
        """Responses in the data that are left out or cut because they are too long."""
        return sum(self.reader.num_overlong(prompt.record) for prompt in prompts)

    def wants(self, group: Sequence[Scored]) -> bool:
        """Whether a generated group is below the threshold. One that nobody could score is not."""
        accuracy = values_of(of_policy(group), ACCURACY)
        return self.threshold is not None and bool(accuracy) and sum(accuracy) / len(accuracy) < self.threshold

    def _pick(self, prompt: Prompt, group: int, step: int) -> list[Trajectory]:
        written = self.reader.read(prompt.record)
        if len(written) > self.per_group:
            order = shuffled(len(written), f"{self.seed}/{prompt.record.id}/{step}")
            written = [written[place] for place in sorted(order[: self.per_group])]
        return [
            Trajectory(
                prompt=prompt,
                group=group,
                index=self.group_size - len(written) + at,
                response_ids=one.ids,
                rollout_logprobs=one.logprobs,
                text=one.text,
                truncated=one.truncated,
                source=Source.OFFLINE,
            )
            for at, one in enumerate(written)
        ]


def replaced(group: Sequence[Scored], offline: Sequence[Scored]) -> Group:
    """The group with these rows in the places of generated ones. A row without a verdict takes nobody's place."""
    judged = {row.trajectory.index: row for row in offline if isinstance(row.verdict, Score)}
    return [judged.get(row.trajectory.index, row) for row in group]


def _check(records: Sequence[Record], reader: OfflineReader) -> None:
    with_own = [record for record in records if record.offline_responses]
    if not with_own:
        raise ConfigError(
            "worker.rollout.enable_mix_policy=true, but no row of data.train_files has a response in column"
            " 'offline_output'; name files that have, or set it to false"
        )
    problems = [f"{record.where}: {problem}" for record in with_own for problem in reader.problems(record)]
    if problems:
        raise DataError(report(problems, "problems in responses from the data"))
    overlong = sum(reader.num_overlong(record) for record in with_own)
    if overlong:
        total = sum(len(record.offline_responses) for record in with_own)
        fate = "cut" if reader.truncate else "left out"
        log.warning(
            "%d of %d responses from the data have more than data.max_response_length=%d tokens and are %s",
            overlong,
            total,
            reader.max_tokens,
            fate,
        )


def _check_logprobs(records: Sequence[Record]) -> None:
    silent = [record.where for record in records if record.offline_responses and not record.offline_logprobs]
    if silent:
        raise DataError(
            f"worker.actor.off_policy_loss=importance needs the log-probs of whoever wrote a response; {len(silent)}"
            f" rows, beginning with {silent[0]}, have none in column 'offline_logprobs': add them, or set it to luffy"
        )
