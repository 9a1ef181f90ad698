# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which engine answers which prompt. All siblings of a prompt go to one engine; that is not up for choice."""

from __future__ import annotations

from collections.abc import Sequence

from verl.rollout.engine import SamplingPlan
from verl.types import Prompt


def assign(
    prompts: Sequence[Prompt], plan: SamplingPlan, num_servers: int, num_rows: Sequence[int] | None = None
) -> list[list[int]]:
    """For each server the indices of its prompts, ascending. `num_rows`: responses to each, if not `plan.n`.

    Prompts about the same clip stay together, so that a clip is read and seen once, unless together they
    are more than a server's fair share. Bundles go to the least loaded server, heaviest first; load counts
    the prompt once and the responses at their longest. Equal inputs give equal answers.
    """
    counts = [plan.n] * len(prompts) if num_rows is None else num_rows
    costs = [len(prompt.ids) + count * plan.max_tokens for prompt, count in zip(prompts, counts, strict=True)]
    fair_share = sum(costs) / num_servers
    bundles = [piece for bundle in _by_clip(prompts) for piece in _pieces(bundle, costs, fair_share)]
    bundles.sort(key=lambda bundle: -sum(costs[i] for i in bundle))  # stable: ties stay in prompt order
    loads = [0] * num_servers
    servers: list[list[int]] = [[] for _ in loads]
    for bundle in bundles:
        lightest = loads.index(min(loads))
        servers[lightest] += bundle
        loads[lightest] += sum(costs[i] for i in bundle)
    return [sorted(share) for share in servers]


def _by_clip(prompts: Sequence[Prompt]) -> list[list[int]]:
    """Indices of prompts that share a clip, directly or through others; a prompt without one is alone."""
    leader = list(range(len(prompts)))  # a union-find forest: the smallest index of a bundle leads it

    def find(i: int) -> int:
        while leader[i] != i:
            i = leader[i]
        return i

    first_with: dict[str, int] = {}
    for i, prompt in enumerate(prompts):
        for ref in prompt.media:
            low, high = sorted((find(first_with.setdefault(ref.key, i)), find(i)))
            leader[high] = low
    bundles: dict[int, list[int]] = {}
    for i in range(len(prompts)):
        bundles.setdefault(find(i), []).append(i)
    return list(bundles.values())


def _pieces(bundle: list[int], costs: Sequence[int], limit: float) -> list[list[int]]:
    """`bundle` cut in order into pieces of cost `limit` at most, but for a prompt that alone costs more."""
    pieces: list[list[int]] = []
    cost = 0.0
    for i in bundle:
        if not pieces or cost + costs[i] > limit:
            pieces.append([])
            cost = 0.0
        pieces[-1].append(i)
        cost += costs[i]
    return pieces
