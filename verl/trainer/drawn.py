# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What drawing the groups of a step showed, in numbers and, when it was in vain, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from verl.rollout.engine import EngineStats
from verl.tracking.metrics import Max, Mean, Metrics, Sum
from verl.trainer.filtering import GroupFilter
from verl.trainer.groups import Group, baseline_of, of_policy, of_source, signal_share
from verl.types import NotScorable, Score, Scored, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """What became of responses from the data."""

    candidates: int = 0  # groups whose record has one that can be used
    groups: int = 0  # groups that got one
    discarded: int = 0  # generated responses whose place was taken
    overlong: int = 0  # responses from the data that were left out, or cut

    def __add__(self, other: Mixed) -> Mixed:
        return Mixed(
            candidates=self.candidates + other.candidates,
            groups=self.groups + other.groups,
            discarded=self.discarded + other.discarded,
            overlong=self.overlong + other.overlong,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Rounds of one step so far."""

    filter: GroupFilter | None = None
    version: int = 0  # of the weights that the engines have
    rounds: int = 0
    groups: tuple[Group, ...] = ()  # all of them
    dropped: tuple[Group, ...] = ()  # those among them that are not trained on
    mixed: Mixed = Mixed()

    def after(self, groups: Sequence[Group], kept: Sequence[Group], mixed: Mixed) -> Drawn:
        """With one more round."""
        staying = set(map(id, kept))
        return replace(
            self,
            rounds=self.rounds + 1,
            groups=(*self.groups, *groups),
            dropped=(*self.dropped, *(group for group in groups if id(group) not in staying)),
            mixed=self.mixed + mixed,
        )

    def no_signal(self, missing: int, wanted: int) -> str:
        """Why a step could not be filled."""
        looks = self.filter.describe(self.dropped) if self.filter is not None else ""
        return (
            f"{self.rounds} rounds of generation (trainer.max_try_make_batch) gave {wanted - missing} of the {wanted}"
            f" groups of a step; of {len(self.groups)} groups {len(self.dropped)} were dropped: {looks}."
            " Choose prompts that this policy answers right now and then, raise worker.rollout.n or"
            " trainer.max_try_make_batch, or set algorithm.online_filtering=false"
        )

    def metrics(self, batch: Sequence[Group]) -> Metrics:
        """Of all that was drawn, but for the age and the authors of the batch that is trained on."""
        rows = [row for group in self.groups for row in group]
        trained = [row for group in batch for row in group if row.trajectory.source is not Source.GREEDY]
        sampled = of_policy(rows)
        no_signal = (1 - signal_share(self.groups)) * len(self.groups)
        metrics: Metrics = {
            "groups/no_signal_share": Mean(no_signal, len(self.groups)),
            "reward/not_scorable": Sum(sum(isinstance(row.verdict, NotScorable) for row in rows)),
            "rollout/truncated_share": Mean(sum(row.trajectory.truncated for row in sampled), len(sampled)),
            "rollout/weight_lag": Max(_weight_lag(trained, self.version)),
        }
        return metrics | self._filter_metrics(sampled) | self._baseline_metrics() | self._mix_metrics(trained)

    def _filter_metrics(self, sampled: Sequence[Scored]) -> Metrics:
        if self.filter is None:
            return {}
        counts: Metrics = {
            "groups/kept_share": Mean(len(self.groups) - len(self.dropped), len(self.groups)),
            "groups/dropped": Sum(len(self.dropped)),
            "groups/rounds": Sum(self.rounds),
        }
        return counts | part_means("reward/unfiltered", sampled)

    def _baseline_metrics(self) -> Metrics:
        greedy = [row for group in self.groups for row in of_source(group, Source.GREEDY)]
        if not greedy:
            return {}
        missing = sum(baseline_of(group) is None for group in self.groups)
        return {"groups/no_baseline": Sum(missing)} | part_means("reward/greedy", greedy)

    def _mix_metrics(self, trained: Sequence[Scored]) -> Metrics:
        offline = of_source(trained, Source.OFFLINE)
        if not (offline or self.mixed.candidates or self.mixed.overlong):
            return {}
        counts: Metrics = {
            "mix_policy/offline_share": Mean(len(offline), len(trained)),
            "mix_policy/candidates": Sum(self.mixed.candidates),
            "mix_policy/groups": Sum(self.mixed.groups),
            "mix_policy/discarded": Sum(self.mixed.discarded),
            "mix_policy/overlong": Sum(self.mixed.overlong),
        }
        return counts | part_means("reward/offline", offline)


def engine_metrics(stats: EngineStats) -> Metrics:
    """What the engines could reuse."""
    return {
        "rollout/media_loads_per_clip": Mean(stats.media_loads, stats.distinct_media),
        "rollout/cached_prompt_share": Mean(stats.cached_prompt_tokens, stats.prompt_tokens),
    }


def part_means(prefix: str, rows: Sequence[Scored]) -> Metrics:
    """`prefix/overall` and `prefix/<part>` over the rows that could be scored."""
    scores = [row.verdict for row in rows if isinstance(row.verdict, Score)]
    metrics: Metrics = {f"{prefix}/overall": Mean(sum(score.overall for score in scores), len(scores))}
    for name in sorted({name for score in scores for name in score.parts}):
        values = [score.parts[name] for score in scores if name in score.parts]
        metrics[f"{prefix}/{name}"] = Mean(sum(values), len(values))
    return metrics


def _weight_lag(rows: Sequence[Scored], newest: int) -> int:
    """Versions between the newest weights and the oldest ones that wrote a response of this step."""
    versions = [row.trajectory.weight_version for row in of_policy(rows)]
    return max(newest, *versions) - min(versions) if versions else 0
