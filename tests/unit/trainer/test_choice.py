# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What a loss chooses is decided over a whole update in the driver, and reaches the loss with the rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.rows import scored
from tests.unit.trainer.fakes import FakePolicy
from verl.algorithms.advantage import Advantage
from verl.algorithms.contract import AdvantageOutput, AlgorithmSettings, ChoiceInput, LossSettings
from verl.algorithms.policy_loss import PolicyLoss, find_loss
from verl.cluster.deal import Deal
from verl.errors import ConfigError, ContractError
from verl.trainer.choice import Chooser
from verl.trainer.clock import Clock
from verl.trainer.experience import Assembler
from verl.types import Experience, Scored

BY_SCORE = Advantage("by_score", lambda x: AdvantageOutput.broadcast(x.scores.float(), x.mask))
PLACES = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]


def assembled(chooser: Chooser | None, *, num_hands: int = 2, **changes: Any) -> dict[tuple[int, int], Experience]:
    """Rows of two updates, of two groups and one, by group and index."""
    assembler = Assembler(
        policy=FakePolicy(num_hands=num_hands),
        advantage=BY_SCORE,
        settings=AlgorithmSettings(components=()),
        kl=None,
        use_reference=False,
        shares_prompts=True,
        groups_per_update=2,
        clock=Clock(),
        chooser=chooser,
        **changes,
    )
    groups = [[row(group, index) for index in (0, 1)] for group in range(3)]
    deals, _ = assembler.assemble(groups)
    rows = [one for update in deals for hand in update.hands for one in hand]
    return {place(one): one for one in rows}


def place(one: Experience) -> tuple[int, int]:
    return one.trajectory.group, one.trajectory.index


def row(group: int, index: int) -> Scored:
    """Advantages 0 to 5 and 3 to 5 tokens; within a response, log-probs rise."""
    made = scored(group, index, float(2 * group + index), num_tokens=3 + group)
    rising = np.linspace(-2, -0.5, 3 + group, dtype=np.float32)
    return replace(
        made, trajectory=replace(made.trajectory, rollout_logprobs=rising, truncated=(group, index) == (1, 1))
    )


def chooser(name: str, **options: float) -> Chooser:
    return Chooser(loss=find_loss(name), settings=LossSettings(options=options))


@pytest.mark.parametrize("num_hands", [1, 2, 3])
def test_a_choice_is_made_over_every_update_whatever_rank_holds_the_rows(num_hands: int) -> None:
    rows = assembled(chooser("kl_cov", kl_cov_ratio=0.15), num_hands=num_hands)
    found = {at: np.flatnonzero(rows[at].chosen).tolist() for at in PLACES}
    # Of 14 tokens 2: the least likely with the least advantage, the likeliest with the most. Then 1 of 10, of which two
    # are equal, and the lots of these responses decide.
    assert found == {(0, 0): [0], (0, 1): [], (1, 0): [], (1, 1): [3], (2, 0): [0], (2, 1): []}
    assert all(len(one.chosen) == len(one.advantages) and one.chosen.dtype == bool for one in rows.values())


def test_lots_are_those_of_the_response_and_not_of_its_place_or_its_rank() -> None:
    numbers = {"clip_cov_ratio": 0.3, "clip_cov_lb": 0.0, "clip_cov_ub": 9.0}
    found = [assembled(chooser("clip_cov", **numbers), num_hands=hands) for hands in (1, 2, 3)]
    for other in found[1:]:
        assert all(np.array_equal(other[at].chosen, found[0][at].chosen) for at in PLACES)
    assert sum(int(one.chosen.sum()) for one in found[0].values()) == 4 + 3  # of 14 and of 10 tokens


def spying() -> tuple[list[ChoiceInput], Chooser]:
    """What a loss that chooses everything is asked, and that loss's chooser."""
    seen: list[ChoiceInput] = []

    def everything(x: ChoiceInput) -> torch.Tensor:
        seen.append(x)
        return torch.ones_like(x.mask)

    loss = PolicyLoss("spy", lambda x: x, choice=everything)  # type: ignore[arg-type, return-value]
    return seen, Chooser(loss=loss, settings=LossSettings())


def test_responses_that_are_left_out_of_the_loss_have_no_part_in_the_choice() -> None:
    seen, spy = spying()
    rows = assembled(spy, masks_truncated=True)
    assert [len(x.mask) for x in seen] == [3, 2] and (1, 1) not in rows
    assert seen[0].advantages[:, 0].tolist() == [0, 1, 2]
    assert seen[0].mask.sum(-1).tolist() == [3, 3, 4]
    assert seen[1].logprobs[0].tolist() == pytest.approx([-2, -1.625, -1.25, -0.875, -0.5])
    assert all(one.chosen.all() for one in rows.values())


def test_every_token_has_a_lot_of_its_own_and_rows_stay_with_their_rank() -> None:
    seen, spy = spying()
    rows = assembled(spy)
    lots = torch.cat([x.lots[x.mask] for x in seen])
    assert len(lots) == 24 and len(lots.unique()) == 24 and lots.min() >= 0 and lots.max() < 1
    first, second, third = (rows[at] for at in PLACES[:3])
    dealt = Deal(hands=((third, first), (second,)), places=((2, 0), (1,)))
    assert [[place(one) for one in hand] for hand in spy.choose(dealt).hands] == [[(1, 0), (0, 0)], [(0, 1)]]


def test_other_losses_choose_nothing() -> None:
    assert all(one.chosen is None for one in assembled(chooser("gspo")).values())
    assert all(one.chosen is None for one in assembled(None).values())


# Numbers and promises -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("clip_cov", {"clip_cov_ratio": 0}, r"loss_options\.clip_cov_ratio=0\.0: is a share"),
        ("kl_cov", {"kl_cov_ratio": 1.5}, r"loss_options\.kl_cov_ratio=1\.5: is a share"),
        ("clip_cov", {"clip_cov_lb": 6}, r"clip_cov_lb=6\.0: must be below clip_cov_ub=5\.0"),
        ("kl_cov", {"ppo_kl_coef": "much"}, r"ppo_kl_coef=much: must be a finite number"),
        ("kl_cov", {"kl_coef": 1.0}, r"kl_coef is no number of 'kl_cov'; did you mean 'ppo_kl_coef'"),
    ],
)
def test_numbers_that_make_no_sense_end_the_run_before_it_starts(
    name: str, options: dict[str, Any], message: str
) -> None:
    find_loss(name).check({})
    with pytest.raises(ConfigError, match=message):
        find_loss(name).check(options)


def test_a_choice_that_is_none_is_named() -> None:
    one = torch.zeros(1, 1)
    x = ChoiceInput(logprobs=one, advantages=one, lots=one, mask=one == 0)
    broken = PolicyLoss("broken", lambda x: x, choice=lambda x: x.lots)  # type: ignore[arg-type, return-value]
    with pytest.raises(ContractError, match="choice of loss 'broken' is no bool tensor"):
        broken.choose(x)
    with pytest.raises(ContractError, match="'gspo' has no choice"):
        find_loss("gspo").choose(x)
