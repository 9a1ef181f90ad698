# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Every advantage against its definition, and what must not change it. Masks may have holes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad

from tests.numerics import naive_advantages as naive
from verl.algorithms.advantage import find_advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, AlgorithmSettings, Conventions
from verl.algorithms.discounted import discounted_sums
from verl.algorithms.masked import mean, variance, whiten

PARTS = ("accuracy", "format")
NAMES = (
    "grpo",
    "dr_grpo",
    "grpo_passk",
    "rloo",
    "reinforce_plus_plus",
    "reinforce_plus_plus_baseline",
    "remax",
    "gae",
    "gdpo",
    "gdpo_by_token",
    "opo",
    "gpg",
    "ema_grpo",
    "optimal_token_baseline",
)
STREAMS = ("rewards", "values", "old_logprobs", "sum_pi_squared", "importance_weights")
RELATIVE = ("grpo", "dr_grpo", "grpo_passk", "rloo", "reinforce_plus_plus_baseline", "opo", "ema_grpo", "gdpo")
WHOLE_BATCH = ("reinforce_plus_plus", "reinforce_plus_plus_baseline", "gae", "gdpo", "gdpo_by_token", "gpg", "ema_grpo")
DISCRETE = st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0, -0.5])  # equal scores, whose sums are not exact, are common

names = pytest.mark.parametrize("name", NAMES)
few = settings(max_examples=12)


@dataclass(frozen=True)
class Batch:
    """Rows of a step, nan wherever nothing may be read."""

    fields: dict[str, Any]

    @property
    def x(self) -> AdvantageInput:
        """Built here: the type checker of the tests draws random numbers, which a strategy must not."""
        return AdvantageInput(**self.fields | {"settings": AlgorithmSettings(**self.fields["settings"])})

    def changed(self, **fields: Any) -> AdvantageInput:
        return replace(self.x, **fields)

    def naive(self) -> naive.Given:
        x = self.x
        assert x.values is not None and x.baselines is not None and x.tasks is not None
        assert x.old_logprobs is not None and x.sum_pi_squared is not None and x.importance_weights is not None
        return naive.Given(
            rewards=x.rewards.tolist(),
            mask=x.mask.tolist(),
            group=x.group.tolist(),
            values=x.values.tolist(),
            baselines=x.baselines.tolist(),
            parts={name: x.parts[name].tolist() for name in PARTS},
            tasks=list(x.tasks),
            weights=list(x.settings.weights),
            gamma=x.settings.gamma,
            lam=x.settings.lam,
            old_logprobs=x.old_logprobs.tolist(),
            sum_pi_squared=x.sum_pi_squared.tolist(),
            importance=x.importance_weights.tolist(),
            memory=x.memory,  # type: ignore[arg-type]
        )


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """1 to 8 rows of 0 to 6 tokens in up to 3 groups; some tokens in the middle are masked out."""
    rows, width = draw(st.integers(1, 8)), draw(st.integers(1, 6))
    mask = torch.tensor(
        draw(st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=rows, max_size=rows))
    )
    mask[0, 0] = True  # a step has a token
    group = draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows))
    random = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    scores = draw(st.lists(DISCRETE, min_size=rows, max_size=rows))
    dense = draw(st.booleans())

    def stream() -> Tensor:
        return torch.randn(rows, width, generator=random, dtype=torch.float64).masked_fill(~mask, torch.nan)

    last = torch.full((rows, width), torch.nan, dtype=torch.float64).masked_fill(mask, 0.0)
    for row, score in enumerate(scores):
        if mask[row].any():
            last[row, int(mask[row].nonzero()[-1])] = score
    logprobs = -stream().abs()
    parts = {name: torch.tensor(draw(st.lists(DISCRETE, min_size=rows, max_size=rows))).double() for name in PARTS}
    return Batch(
        {
            "rewards": stream() if dense else last,
            "mask": mask,
            "group": torch.tensor(group),
            "values": stream(),
            "baselines": torch.randn(rows, generator=random, dtype=torch.float64),
            "parts": parts,
            "tasks": tuple(f"task {label % 2}" for label in group),
            "old_logprobs": logprobs,
            "sum_pi_squared": logprobs.exp() ** 2 + stream().abs() / 10,  # at least the square of one of them
            "importance_weights": stream().exp().clamp(max=2),
            "memory": draw(st.sampled_from([{}, {"task 0": {"mean": 0.4, "square": 0.5}}])),
            "settings": {
                "gamma": draw(st.sampled_from([1.0, 0.9])),
                "lam": draw(st.sampled_from([1.0, 0.8])),
                "weights": (1.0, 0.3),
            },
        }
    )


def compute(name: str, x: AdvantageInput) -> AdvantageOutput:
    if name == "gdpo_by_token":
        return find_advantage("gdpo").compute(replace(x, settings=replace(x.settings, whitening="token")))
    return find_advantage(name).compute(x)


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


def reordered(x: AdvantageInput, order: list[int]) -> AdvantageInput:
    assert x.baselines is not None and x.tasks is not None
    streams = {name: getattr(x, name)[order] for name in STREAMS}
    return replace(
        x,
        **streams,
        mask=x.mask[order],
        group=x.group[order],
        baselines=x.baselines[order],
        parts={name: part[order] for name, part in x.parts.items()},
        tasks=tuple(x.tasks[row] for row in order),
    )


@names
@given(batch=batches())
def test_it_equals_its_definition(name: str, batch: Batch) -> None:
    expected = torch.tensor(getattr(naive, name)(batch.naive()), dtype=torch.float64)
    same(compute(name, batch.x).advantages, expected)


@names
@few
@given(batch=batches(), random=st.randoms(use_true_random=False))
def test_neither_row_order_nor_the_names_of_groups_matter(name: str, batch: Batch, random: Any) -> None:
    order = list(range(len(batch.x.group)))
    random.shuffle(order)
    renamed = batch.changed(group=17 - 5 * batch.x.group)
    same(compute(name, reordered(renamed, order)).advantages, compute(name, batch.x).advantages[order])


@names
@few
@given(batch=batches(), extra=st.integers(1, 3), at=st.integers(0, 6))
def test_padding_does_not_matter_wherever_it_is(name: str, batch: Batch, extra: int, at: int) -> None:
    x, at = batch.x, min(at, batch.x.mask.shape[1])

    def widened(tensor: Tensor, fill: float) -> Tensor:
        return torch.cat([tensor[:, :at], pad(tensor[:, at:], (extra, 0), value=fill)], dim=-1)

    streams = {name: widened(getattr(x, name), torch.nan) for name in STREAMS}
    wider = replace(x, **streams, mask=widened(x.mask.double(), 0.0).bool())
    found = compute(name, wider)
    kept = torch.arange(wider.mask.shape[1])
    kept = kept[(kept < at) | (kept >= at + extra)]
    same(found.advantages[:, kept], compute(name, x).advantages)
    same(found.returns[:, kept], compute(name, x).returns)


@names
@few
@given(batch=batches())
def test_nothing_outside_the_mask_is_read(name: str, batch: Batch) -> None:
    x = batch.x
    loud = replace(x, **{name: getattr(x, name).nan_to_num(9e9) for name in STREAMS})
    assert torch.equal(compute(name, loud).advantages, compute(name, x).advantages)
    assert torch.equal(compute(name, loud).returns, compute(name, x).returns)


@pytest.mark.parametrize("name", RELATIVE)
@few
@given(batch=batches(), shifts=st.lists(st.floats(-10, 10), min_size=3, max_size=3))
def test_a_bonus_for_all_siblings_changes_nothing(name: str, batch: Batch, shifts: list[float]) -> None:
    """Each group gets its own; for ema_grpo all get the same, since it measures the spread between prompts too."""
    if name == "ema_grpo":
        shifts, batch = shifts[:1] * 3, Batch(batch.fields | {"memory": {}})
    first = batch.x.mask.long().argmax(-1, keepdim=True)
    bonus = torch.tensor(shifts, dtype=torch.float64)[batch.x.group]
    rewards = batch.x.rewards.scatter_add(1, first, bonus[:, None])
    has_tokens = bool(batch.x.mask.any(-1).all())
    shifted = batch.changed(rewards=rewards, parts={name: part + bonus for name, part in batch.x.parts.items()})
    if has_tokens:
        torch.testing.assert_close(
            compute(name, shifted).advantages, compute(name, batch.x).advantages, rtol=1e-4, atol=1e-4
        )


@names
@few
@given(batch=batches(), scale=st.sampled_from([0.25, 4.0]))
def test_rewards_on_another_scale(name: str, batch: Batch, scale: float) -> None:
    """What is divided by a spread does not feel it, but for eps; the rest grows with it."""
    x = batch.x
    assert x.values is not None and x.baselines is not None
    if name == "ema_grpo":
        x = replace(x, memory={})
    exact = replace(x.settings, conventions=Conventions(eps=1e-9, whiten_eps=1e-16))
    x = replace(x, settings=exact)
    scaled = replace(
        x,
        rewards=x.rewards * scale,
        values=x.values * scale,
        baselines=x.baselines * scale,
        parts={name: part * scale for name, part in x.parts.items()},
    )
    grows = name in ("dr_grpo", "grpo_passk", "rloo", "remax", "opo", "gpg", "optimal_token_baseline")
    before, after = compute(name, x).advantages, compute(name, scaled).advantages
    if name == "ema_grpo" and min(total for total, _ in compute(name, x).metrics.values() if total) <= 0.01:
        return  # the floor under a task's std, and groups measured by their own
    torch.testing.assert_close(after, before * scale if grows else before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted({*NAMES} - {*WHOLE_BATCH}))
@few
@given(batch=batches())
def test_groups_can_be_computed_apart(name: str, batch: Batch) -> None:
    whole = compute(name, batch.x).advantages
    for label in batch.x.group.unique().tolist():
        rows = (batch.x.group == label).nonzero()[:, 0].tolist()
        same(compute(name, reordered(batch.x, rows)).advantages, whole[rows])


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "grpo_passk", "rloo", "opo", "gpg", "gdpo", "ema_grpo"])
@given(score=st.floats(-1e3, 1e3, width=32), dtype=st.sampled_from([torch.float32, torch.float64]))
@few
def test_siblings_that_agree_teach_exactly_nothing(name: str, score: float, dtype: torch.dtype) -> None:
    scores = torch.full((5,), score, dtype=dtype)
    x = AdvantageInput(
        rewards=scores[:, None].expand(5, 3) * torch.tensor([0.0, 0.0, 1.0], dtype=dtype),
        mask=torch.ones(5, 3, dtype=torch.bool),
        group=torch.zeros(5, dtype=torch.int64),
        parts={name: scores for name in PARTS},
        tasks=("all",) * 5,
    )
    assert compute(name, x).advantages.eq(0).all()


@given(batch=batches())
def test_the_returns_of_gae_are_those_before_the_whitening(batch: Batch) -> None:
    x = batch.x
    assert x.values is not None
    expected = torch.tensor(naive.gae_before_whitening(batch.naive()), dtype=torch.float64) + x.values.nan_to_num(0)
    same(compute("gae", x).returns, expected.masked_fill(~x.mask, 0))


@pytest.mark.parametrize("name", ["gae", "reinforce_plus_plus", "reinforce_plus_plus_baseline", "gdpo_by_token"])
@few
@given(batch=batches())
def test_whitened_advantages_have_mean_0_and_variance_1_over_tokens(name: str, batch: Batch) -> None:
    found = compute(name, batch.x).advantages
    assert float(mean(found, batch.x.mask)) == pytest.approx(0, abs=1e-7)
    assert float(variance(found, batch.x.mask)) <= 1 + 1e-9


@few
@given(batch=batches())
def test_a_verl_singleton_keeps_its_score(batch: Batch) -> None:
    conventions = Conventions(singleton="score")
    x = batch.changed(group=torch.arange(len(batch.x.group)), settings=AlgorithmSettings(conventions=conventions))
    raw = x.scores[:, None] * x.mask
    for name in ("dr_grpo", "rloo", "opo"):
        same(compute(name, x).advantages, raw)
    later = torch.tensor(naive.rewards_to_go(batch.naive(), 1.0), dtype=torch.float64)
    same(compute("optimal_token_baseline", x).advantages, later)
    same(compute("grpo", x).advantages, raw / (1 + 1e-6))


@few
@given(batch=batches())
def test_the_token_baseline_of_equal_returns_leaves_exactly_nothing(batch: Batch) -> None:
    """As long as a sibling is left; and without importance weights all weigh as if those were 1."""
    x = batch.x
    first = torch.zeros_like(x.mask).scatter(1, (x.mask.shape[1] - 1 - x.mask.flip(1).long().argmax(1))[:, None], True)
    x = replace(x, rewards=torch.where(first, 0.7, 0.0).double(), importance_weights=None)
    found = compute("optimal_token_baseline", x).advantages
    there = torch.stack([(x.mask & (x.group == label)[:, None]).sum(0) for label in x.group])
    assert found[x.mask & (there > 1)].eq(0).all()
    same(compute("optimal_token_baseline", replace(x, importance_weights=torch.ones_like(x.rewards))).advantages, found)


@pytest.mark.parametrize("certainty", [0.0, 1e-7])
def test_tokens_that_were_certain_do_not_divide_by_nothing(certainty: float) -> None:
    """Their gradient is 0, whatever the advantage; rounding may even leave less than 0."""
    x = AdvantageInput(
        rewards=torch.tensor([[0.0, 1.0], [0.0, 0.5]]),
        mask=torch.ones(2, 2, dtype=torch.bool),
        group=torch.zeros(2, dtype=torch.int64),
        old_logprobs=torch.zeros(2, 2),
        sum_pi_squared=torch.full((2, 2), 1 - certainty),
    )
    assert compute("optimal_token_baseline", x).advantages.tolist() == [[0.5, 0.5], [0.0, 0.0]]


# Memory ---------------------------------------------------------------------------------------------------


@few
@given(steps=st.lists(batches(), min_size=3, max_size=3))
def test_ema_grpo_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(steps: list[Batch]) -> None:
    """What it remembers is all it needs, and survives being written as JSON to the bit."""
    straight, resumed = steps[0].x.memory, steps[0].x.memory
    for step in steps:
        one = compute("ema_grpo", step.changed(memory=straight))
        other = compute("ema_grpo", step.changed(memory=json.loads(json.dumps(resumed))))
        assert torch.equal(one.advantages, other.advantages)
        straight, resumed = one.memory, other.memory
    assert straight == resumed


@few
@given(batch=batches())
def test_ema_grpo_remembers_the_moments_of_every_task(batch: Batch) -> None:
    found = compute("ema_grpo", batch.x)
    expected = naive.ema_moments(batch.naive())
    assert set(found.memory) == set(expected)
    for task, moments in expected.items():
        assert found.memory[task] == pytest.approx(moments, rel=1e-9, abs=1e-12)
    for task in set(batch.x.tasks or ()):
        assert found.metrics[f"advantage/{task.replace(' ', '_')}/std"][1] == 1.0


# Parts ----------------------------------------------------------------------------------------------------


def rows(width: int) -> st.SearchStrategy[tuple[list[float], list[bool]]]:
    return st.tuples(
        st.lists(st.floats(-5, 5), min_size=width, max_size=width),
        st.lists(st.booleans(), min_size=width, max_size=width),
    )


@given(st.integers(1, 40).flatmap(rows), st.sampled_from([0.0, 0.5, 0.97, 1.0]))
def test_discounted_sums_equal_a_loop(row: tuple[list[float], list[bool]], factor: float) -> None:
    values, mask = row
    found = discounted_sums(torch.tensor([values], dtype=torch.float64), torch.tensor([mask]), factor)
    running = 0.0
    for t in reversed(range(len(values))):
        running = values[t] + factor * running if mask[t] else running
        assert found[0, t].item() == pytest.approx(running, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("transform", [whiten, lambda v, m: whiten(v, m, ddof=0)])
def test_equal_values_whiten_to_exactly_zero(size: int, transform: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert transform(torch.full((1, size), 0.7), torch.ones(1, size, dtype=torch.bool)).eq(0).all()


def test_statistics_of_nothing_are_zero() -> None:
    values, mask = torch.full((2, 2), torch.nan), torch.zeros(2, 2, dtype=torch.bool)
    assert float(mean(values, mask)) == float(variance(values, mask)) == 0.0
    assert whiten(values, mask).eq(0).all()
