# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Scored groups -> experience, dealt to ranks: log-probabilities, KL, advantages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from verl.algorithms.advantage import Advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, AlgorithmSettings
from verl.algorithms.kl import KlController, apply_kl_penalty
from verl.cluster.deal import Deal, deal, join
from verl.errors import NoSignal
from verl.tracking.metrics import Max, Mean, Metrics, means, merge
from verl.trainer.clock import Clock
from verl.trainer.handles import Policy
from verl.types import Experience, Floats, Score, Scored, Source, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembler:
    """What turns scored groups into the rows of a training step."""

    policy: Policy
    advantage: Advantage
    settings: AlgorithmSettings
    kl: KlController | None  # None without a penalty in the reward
    use_reference: bool
    shares_prompts: bool  # whether siblings on one rank run their prompt once
    groups_per_update: int
    clock: Clock

    def assemble(self, groups: Sequence[Sequence[Scored]]) -> tuple[list[Deal[Experience]], Metrics]:
        """One deal per optimiser step. Rows without a verdict are left out; they were counted when collected.

        Raises NoSignal when no row has a verdict.
        """
        kept = [[row for row in group if isinstance(row.verdict, Score)] for group in groups]
        updates = [kept[at : at + self.groups_per_update] for at in range(0, len(kept), self.groups_per_update)]
        rows = [row for group in kept for row in group]
        if not rows:
            raise NoSignal(f"none of the {len(groups)} groups has a response that could be scored")
        deals = [self._deal(update) for update in updates]
        everything = join(deals)
        with self.clock("old"):
            old = self.policy.logprobs(everything)
        ref = self._reference(everything)
        with self.clock("adv"):
            experience, metrics = self._advantages(rows, old, ref)
        return _redeal(deals, experience), merge([metrics, _gap(rows, old)])

    def _reference(self, rows: Deal[Trajectory]) -> list[Floats] | None:
        if not self.use_reference:
            return None
        with self.clock("ref"):
            return self.policy.ref_logprobs(rows)

    def _deal(self, groups: Sequence[Sequence[Scored]]) -> Deal[Trajectory]:
        trajectories = [[row.trajectory for row in group] for group in groups if group]
        return deal(trajectories, self.policy.num_ranks, self._cost)

    def _cost(self, rows: Sequence[Trajectory]) -> float:
        """Tokens that a rank runs for these siblings."""
        prompts = 1 if self.shares_prompts else len(rows)
        return prompts * len(rows[0].prompt.ids) + sum(len(row.response_ids) for row in rows)

    def _advantages(
        self, rows: Sequence[Scored], old: Sequence[Floats], ref: Sequence[Floats] | None
    ) -> tuple[list[Experience], Metrics]:
        mask, rewards = _token_rewards(rows)
        metrics: Metrics = {}
        if self.kl is not None and ref is not None:
            penalised = apply_kl_penalty(rewards, _padded(old, mask), _padded(ref, mask), mask, self.kl)
            rewards, metrics = penalised.rewards, means(penalised.metrics)
        output = self.advantage.compute(_advantage_input(rows, rewards, mask, self.settings))
        rewarded = rewards.masked_fill(~mask, 0).sum(-1)
        metrics["critic/rewards/mean"] = Mean(float(rewarded.sum()), len(rows))
        metrics |= means(output.metrics)
        return _experience(rows, old, ref, output), metrics


def _advantage_input(
    rows: Sequence[Scored], rewards: Tensor, mask: Tensor, settings: AlgorithmSettings
) -> AdvantageInput:
    return AdvantageInput(
        rewards=rewards,
        mask=mask,
        group=torch.tensor([row.trajectory.group for row in rows]),
        parts=_parts(rows, settings.components),
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


def _padded(values: Sequence[Floats], mask: Tensor) -> Tensor:
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


def _experience(
    rows: Sequence[Scored], old: Sequence[Floats], ref: Sequence[Floats] | None, output: AdvantageOutput
) -> list[Experience]:
    experience = []
    for index, row in enumerate(rows):
        assert isinstance(row.verdict, Score)
        length = len(row.trajectory.response_ids)
        experience.append(
            Experience(
                trajectory=row.trajectory,
                score=row.verdict,
                old_logprobs=old[index],
                ref_logprobs=ref[index] if ref is not None else None,
                values=None,
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


def _gap(rows: Sequence[Scored], old: Sequence[Floats]) -> Metrics:
    """How far trainer and engine are apart on the tokens that were sampled: the health of everything between."""
    pairs = [
        np.abs(logprobs - row.trajectory.rollout_logprobs)
        for row, logprobs in zip(rows, old, strict=True)
        if row.trajectory.source is Source.POLICY
    ]
    if not pairs:
        return {}
    gaps = np.concatenate(pairs)
    return {
        "rollout/logprob_gap_max": Max(float(gaps.max())),
        "rollout/logprob_gap_mean": Mean(float(gaps.sum()), gaps.size),
    }
