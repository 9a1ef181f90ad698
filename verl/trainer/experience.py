# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Scored groups -> experience, dealt to ranks: log-probabilities, KL, advantages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from verl.algorithms.advantage import Advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, AlgorithmSettings, Memory, Needs
from verl.algorithms.correction import Correction
from verl.algorithms.kl import KlController, apply_kl_penalty, measure_kl
from verl.cluster.deal import Deal, deal, join
from verl.errors import NoSignal
from verl.tracking.metrics import Mean, Metrics, means, merge
from verl.trainer.choice import Chooser
from verl.trainer.clock import Clock
from verl.trainer.groups import baseline_of
from verl.trainer.handles import Critic, Policy
from verl.trainer.masking import without_truncated
from verl.trainer.mismatch import correct, importance_weights
from verl.types import Experience, Floats, Score, Scored, Source, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class _Streams:
    """What models say of the response tokens: [R] of every row."""

    old: Sequence[Floats]
    ref: Sequence[Floats] | None
    values: Sequence[Floats] | None
    sum_pi_squared: Sequence[Floats] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembler:
    """What turns scored groups into the rows of a training step."""

    policy: Policy
    advantage: Advantage
    settings: AlgorithmSettings
    kl: KlController | None  # None without a reference policy
    use_reference: bool
    shares_prompts: bool  # whether siblings on one rank run their prompt once
    groups_per_update: int
    clock: Clock
    masks_truncated: bool = False  # whether responses that were cut off are left out of the loss
    kl_in_reward: bool = True  # else the loss has it, and only the controller learns here
    correction: Correction = field(default_factory=Correction)
    critic: Critic | None = None  # for estimators that need values
    chooser: Chooser | None = None  # for losses that choose tokens
    memory: dict[str, Memory] = field(default_factory=dict)  # what every estimator keeps from step to step

    def assemble(self, groups: Sequence[Sequence[Scored]]) -> tuple[list[Deal[Experience]], Metrics]:
        """One deal per optimiser step. Rows without a verdict are left out; they were counted when collected. Greedy
        baselines are handed to the estimator and not trained on.

        Raises NoSignal when no row has a verdict.
        """
        kept = [[row for row in group if _is_trained(row)] for group in groups]
        updates = [kept[at : at + self.groups_per_update] for at in range(0, len(kept), self.groups_per_update)]
        rows = [row for group in kept for row in group]
        if not rows:
            raise NoSignal(f"none of the {len(groups)} groups has a response that could be scored")
        deals = [self._deal(update) for update in updates]
        streams = self._streams(join(deals))
        with self.clock("adv"):
            experience, metrics = self._advantages(rows, streams, _baselines(groups))
        weights, mismatch = correct([row.trajectory for row in rows], streams.old, self.correction)
        if weights is not None:
            experience = [replace(row, weights=own) for row, own in zip(experience, weights, strict=True)]
        dealt, masked = _redeal(deals, experience), Metrics()
        if self.masks_truncated:
            dealt, masked = without_truncated(dealt)
        if self.chooser is not None:
            with self.clock("adv"):
                dealt = [self.chooser.choose(update) for update in dealt]
        return dealt, merge([metrics, mismatch, masked])

    def _streams(self, rows: Deal[Trajectory]) -> _Streams:
        ref, values, squares = None, None, None
        with self.clock("old"):
            if Needs.SUM_PI_SQUARED in self.advantage.needs:
                old, squares = map(list, zip(*self.policy.logprobs_and_squares(rows), strict=True))
            else:
                old = self.policy.logprobs(rows)
        if self.use_reference:
            with self.clock("ref"):
                ref = self.policy.ref_logprobs(rows)
        if self.critic is not None:
            with self.clock("values"):
                values = self.critic.values(rows)
        return _Streams(old=old, ref=ref, values=values, sum_pi_squared=squares)

    def _deal(self, groups: Sequence[Sequence[Scored]]) -> Deal[Trajectory]:
        trajectories = [[row.trajectory for row in group] for group in groups if group]
        return deal(trajectories, self.policy.num_hands, self._cost)

    def _cost(self, rows: Sequence[Trajectory]) -> float:
        """Tokens that a rank runs for these siblings."""
        prompts = 1 if self.shares_prompts else len(rows)
        return prompts * len(rows[0].prompt.ids) + sum(len(row.response_ids) for row in rows)

    def _advantages(
        self, rows: Sequence[Scored], streams: _Streams, baselines: Tensor | None
    ) -> tuple[list[Experience], Metrics]:
        mask, rewards = _token_rewards(rows)
        old, ref, values = (_padded(one, mask) for one in (streams.old, streams.ref, streams.values))
        metrics: Metrics = {}
        if self.kl is not None and old is not None and ref is not None and not self.kl_in_reward:
            metrics = means(measure_kl(old, ref, mask, self.kl))
        elif self.kl is not None and old is not None and ref is not None:
            penalised = apply_kl_penalty(rewards, old, ref, mask, self.kl)
            rewards, metrics = penalised.rewards, means(penalised.metrics)
        given = _advantage_input(rows, rewards, mask, self.settings)
        importance = importance_weights([row.trajectory for row in rows], streams.old, self.correction)
        given = replace(
            given,
            values=values,
            baselines=baselines,
            old_logprobs=old,
            sum_pi_squared=_padded(streams.sum_pi_squared, mask),
            importance_weights=_padded(importance, mask),
            memory=self.memory.get(self.advantage.name, {}),
        )
        output = self.advantage.compute(given)
        self.memory[self.advantage.name] = output.memory
        rewarded = rewards.masked_fill(~mask, 0).sum(-1)
        metrics["critic/rewards/mean"] = Mean(float(rewarded.sum()), len(rows))
        metrics |= means(output.metrics)
        return _experience(rows, streams, output), metrics


def _is_trained(row: Scored) -> bool:
    return isinstance(row.verdict, Score) and row.trajectory.source is not Source.GREEDY


def _baselines(groups: Sequence[Sequence[Scored]]) -> Tensor | None:
    """[B] for the rows that are trained on the score of their prompt's greedy response; None unless all have one."""
    scores = [baseline_of(group) for group in groups for row in group if _is_trained(row)]
    known = [score for score in scores if score is not None]
    return torch.tensor(known) if len(known) == len(scores) else None


def _advantage_input(
    rows: Sequence[Scored], rewards: Tensor, mask: Tensor, settings: AlgorithmSettings
) -> AdvantageInput:
    return AdvantageInput(
        rewards=rewards,
        mask=mask,
        group=torch.tensor([row.trajectory.group for row in rows]),
        parts=_parts(rows, settings.components),
        tasks=tuple(row.trajectory.prompt.record.problem_type for row in rows),
        off_policy=torch.tensor([row.trajectory.source is Source.OFFLINE for row in rows]),
        settings=settings,
    )


def _token_rewards(rows: Sequence[Scored]) -> tuple[Tensor, Tensor]:
    """Mask [B, R] of response tokens, and the overall score on the last of them [B, R]."""
    lengths = torch.tensor([len(row.trajectory.response_ids) for row in rows])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    rewards = torch.zeros(mask.shape)
    scores = torch.tensor([row.verdict.overall for row in rows if isinstance(row.verdict, Score)])
    rewards[torch.arange(len(rows)), lengths - 1] = scores
    return mask, rewards


def _padded(values: Sequence[Floats] | None, mask: Tensor) -> Tensor | None:
    """[B, R], zero outside the mask."""
    if values is None:
        return None
    padded = torch.zeros(mask.shape)
    padded[mask] = torch.from_numpy(np.concatenate(values))
    return padded


def _parts(rows: Sequence[Scored], names: Sequence[str]) -> Mapping[str, Tensor]:
    """Named parts [B] of the scores that have them in every row."""
    parts = [row.verdict.parts for row in rows if isinstance(row.verdict, Score)]
    return {
        name: torch.tensor([float(part[name]) for part in parts])
        for name in names
        if all(name in part for part in parts)
    }


def _experience(rows: Sequence[Scored], streams: _Streams, output: AdvantageOutput) -> list[Experience]:
    experience = []
    for index, row in enumerate(rows):
        assert isinstance(row.verdict, Score)
        length = len(row.trajectory.response_ids)
        experience.append(
            Experience(
                trajectory=row.trajectory,
                score=row.verdict,
                old_logprobs=streams.old[index],
                ref_logprobs=None if streams.ref is None else streams.ref[index],
                values=None if streams.values is None else streams.values[index],
                advantages=output.advantages[index, :length].numpy().astype(np.float32),
                returns=output.returns[index, :length].numpy().astype(np.float32),
            )
        )
    return experience


def _redeal(deals: Sequence[Deal[Trajectory]], rows: Sequence[Experience]) -> list[Deal[Experience]]:
    dealt, at = [], 0
    for one in deals:
        dealt.append(one.with_rows(rows[at : at + one.num_rows]))
        at += one.num_rows
    return dealt
