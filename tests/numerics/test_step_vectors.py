# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What goes into a step and how it is split, by public implementations from tests/vectors and by us."""

from __future__ import annotations

from tests.numerics.published import Case, cases, each
from tests.rows import prompt, scored, trajectory
from verl.fsdp.packing import plan
from verl.trainer.filtering import GroupFilter


@each(cases("steps", "dapo_dynamic_sampling/"))
def test_groups_whose_scores_are_all_the_same_are_dropped(case: Case) -> None:
    scores, labels = (case.numbers(name) for name in ("scores", "index"))
    groups = [
        [
            scored(int(label), at, score)
            for at, (score, other) in enumerate(zip(scores, labels, strict=True))
            if other == label
        ]
        for label in sorted(set(labels))
    ]
    assert all(len(group) == case.params["n"] for group in groups)
    keeps = GroupFilter(keys=("overall",)).keeps
    assert [int(keeps(group)) for group in groups] == case.expected["kept"]


@each(cases("steps", "dynamic_batch/"))
def test_a_micro_batch_never_holds_more_than_the_limit(case: Case) -> None:
    """Where verl and EasyR1 keep it too, no more micro-batches than theirs; where they do not, no two rows fit."""
    lengths, limit = [int(length) for length in case.numbers("lengths")], case.params["max_token_len"]
    rows = [
        trajectory(number, 0, of=prompt(f"r{number}", num_tokens=1), num_tokens=length - 1)
        for number, length in enumerate(lengths)
    ]
    bins = plan(rows, limit, shared_prompt=False)
    places = [[place for bundle in one for place in bundle] for one in bins]
    assert sorted(place for one in places for place in one) == list(range(len(rows)))
    assert max(sum(lengths[place] for place in one) for one in places) <= limit
    assert bool(case.expected["exceeds_limit"]) == (case.expected["max_micro_tokens"] > limit)
    if case.expected["exceeds_limit"]:
        assert 2 * min(lengths) > limit and len(bins) == len(rows)
    else:
        assert len(bins) <= case.expected["num_micro_batches"]
