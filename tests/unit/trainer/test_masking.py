# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Rows that count in an estimator and not in the loss: truncated responses, greedy baselines."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.rows import scored
from tests.unit.trainer.fakes import FakePolicy
from verl.algorithms.advantage import Advantage, find_advantage
from verl.algorithms.contract import AdvantageOutput, AlgorithmSettings, Needs
from verl.cluster.deal import deal
from verl.errors import NoSignal
from verl.tracking.metrics import values
from verl.trainer.clock import Clock
from verl.trainer.experience import Assembler
from verl.types import Source


def row(group, index, score, **changes):
    made = scored(group, index, score)
    return replace(made, trajectory=replace(made.trajectory, **changes))


def assembler(**changes):
    return Assembler(
        policy=FakePolicy(),
        settings=AlgorithmSettings(components=()),
        kl=None,
        use_reference=False,
        shares_prompts=True,
        groups_per_update=2,
        clock=Clock(),
        **({"advantage": find_advantage("grpo"), "masks_truncated": True} | changes),
    )


def trained(deals):
    rows = [row for one in deals for hand in one.hands for row in hand]
    return {(row.trajectory.group, row.trajectory.index): row for row in rows}


GROUPS = [
    [row(0, 0, 1.0), row(0, 1, 0.0, truncated=True), row(0, 2, 0.0)],
    [row(1, 0, 1.0), row(1, 1, 0.0)],
]


def test_a_truncated_response_counts_for_its_siblings_and_is_not_trained_on():
    masked, metrics = assembler().assemble(GROUPS)
    everything, _ = assembler(masks_truncated=False).assemble(GROUPS)
    ours, theirs = trained(masked), trained(everything)
    assert set(theirs) - set(ours) == {(0, 1)}
    assert all(np.array_equal(ours[place].advantages, theirs[place].advantages) for place in ours)
    assert ours[0, 0].advantages[0] == pytest.approx((1 - 1 / 3) / (np.sqrt(1 / 3) + 1e-6))  # of all three
    assert values(metrics)["rollout/masked_share"] == pytest.approx(0.2)


def test_an_optimiser_step_without_a_row_is_not_taken():
    cut = [[replace(r, trajectory=replace(r.trajectory, truncated=True)) for r in group] for group in GROUPS]
    more = [[row(2, 0, 1.0), row(2, 1, 0.0)], [row(3, 0, 1.0), row(3, 1, 0.0)]]
    deals, _ = assembler().assemble([*cut, *more])
    assert [one.num_rows for one in deals] == [4]
    with pytest.raises(NoSignal, match=r"all 5 responses were cut off at data.max_response_length"):
        assembler().assemble(cut)


def test_rows_that_are_kept_stay_with_their_rank_and_their_places_close_up():
    dealt = deal([[0, 1, 2], [3, 4, 5], [6, 7]], 2, len)
    kept = dealt.keep(lambda number: number % 2 == 0)
    assert sorted(kept.gather(kept.hands)) == kept.gather(kept.hands) == [0, 2, 4, 6]
    assert all(set(hand) <= set(full) for hand, full in zip(kept.hands, dealt.hands, strict=True))
    assert dealt.keep(lambda _: False).num_rows == 0


def minus_baseline(x):
    seen.append(x.baselines)
    return AdvantageOutput.broadcast((x.scores - x.baselines).float(), x.mask)


seen: list = []
BASELINE = Advantage("minus_baseline", minus_baseline, Needs.GREEDY_BASELINE)


def test_a_greedy_response_is_handed_to_the_estimator_and_not_trained_on():
    groups = [
        [row(0, 0, 1.0), row(0, 1, 0.5), row(0, 2, 0.25, source=Source.GREEDY)],
        [row(1, 0, 0.0), row(1, 1, None), row(1, 2, 0.75, source=Source.GREEDY)],
    ]
    deals, _ = assembler(advantage=BASELINE).assemble(groups)
    assert torch.equal(seen[-1], torch.tensor([0.25, 0.25, 0.75]))
    advantages = {place: float(one.advantages[0]) for place, one in trained(deals).items()}
    assert advantages == {(0, 0): 0.75, (0, 1): 0.25, (1, 0): -0.75}


def test_without_greedy_responses_there_are_no_baselines():
    spy: list = []

    def look(x):
        spy.append(x.baselines)
        return AdvantageOutput.broadcast(x.scores.float(), x.mask)

    assembler(advantage=Advantage("look", look)).assemble(GROUPS)
    assert spy == [None]
