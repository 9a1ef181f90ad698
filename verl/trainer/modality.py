# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How well the policy does on rows with videos, with images, with both, and with text alone."""

from __future__ import annotations

from collections.abc import Sequence

from verl.tracking.metrics import Mean, Metrics, Sum
from verl.types import Prompt, Score, Scored

TEXT, MIXED = "text", "mixed"


def modality(prompt: Prompt) -> str:
    """`text`, `image`, `video`, or `mixed` for images and videos; by its media, whatever its row calls itself."""
    kinds = {ref.kind for ref in prompt.media}
    return MIXED if len(kinds) > 1 else next(iter(kinds), TEXT)


def by_modality(prefix: str, rows: Sequence[Scored]) -> Metrics:
    """`<prefix>/by_modality/<modality>/...` for those that `rows` have: responses, their mean length in tokens, and
    overall score and accuracy of those that could be scored.
    """
    groups: dict[str, list[Scored]] = {}
    for row in rows:
        groups.setdefault(modality(row.trajectory.prompt), []).append(row)
    metrics: Metrics = {}
    for kind, found in sorted(groups.items()):
        scores = [row.verdict for row in found if isinstance(row.verdict, Score)]
        tokens = sum(len(row.trajectory.response_ids) for row in found)
        right = sum(score.parts.get("accuracy", score.overall) for score in scores)
        name = f"{prefix}/by_modality/{kind}"
        metrics[f"{name}/responses"] = Sum(len(found))
        metrics[f"{name}/response_length"] = Mean(tokens, len(found))
        metrics[f"{name}/overall"] = Mean(sum(score.overall for score in scores), len(scores))
        metrics[f"{name}/accuracy"] = Mean(right, len(scores))
    return metrics
