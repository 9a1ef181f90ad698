# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Rows made by hand: what a test says about them, and defaults for the rest."""

from __future__ import annotations

import numpy as np

from verl.types import NotScorable, Prompt, Record, Score, Scored, Trajectory


def record(id: str = "r0", **fields) -> Record:
    known = {
        "where": "rows.jsonl:1",
        "problem": "Which colour?",
        "answer": "A",
        "problem_type": "multiple choice",
        "data_type": "text",
    }
    return Record(id=id, **(known | fields))


def prompt(id: str = "r0", num_tokens: int = 5, **fields) -> Prompt:
    ids = np.arange(num_tokens, dtype=np.int32)
    return Prompt(record=record(id, **fields), text=f"prompt {id}", collapsed_ids=ids, ids=ids, grids=(), media=())


def trajectory(group: int, index: int, *, of: Prompt | None = None, num_tokens: int = 3) -> Trajectory:
    return Trajectory(
        prompt=of or prompt(f"r{group}"),
        group=group,
        index=index,
        response_ids=np.arange(num_tokens, dtype=np.int32),
        rollout_logprobs=np.full(num_tokens, -0.5, dtype=np.float32),
        text="<answer>A</answer>",
        truncated=False,
    )


def scored(group: int, index: int, score: float | None, *, num_tokens: int = 3) -> Scored:
    verdict = NotScorable(reason="no truth") if score is None else Score(overall=score, parts={"accuracy": score})
    return Scored(trajectory=trajectory(group, index, num_tokens=num_tokens), verdict=verdict)
