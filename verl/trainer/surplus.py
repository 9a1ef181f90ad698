# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Groups that a step had no room for, as plain data in a checkpoint: every bit of them comes back."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from verl.errors import CheckpointError
from verl.trainer.groups import Group
from verl.types import NotScorable, Prompt, Score, Scored, Source, Trajectory, Verdict


def to_json(groups: Sequence[Group], row_of: Callable[[Prompt], int]) -> list[dict[str, Any]]:
    """Each group by the row of the data that its prompt was drawn from."""
    return [
        {"row": row_of(group[0].trajectory.prompt), "responses": [_response(row) for row in group]} for group in groups
    ]


def from_json(data: Sequence[Mapping[str, Any]], prompt_of: Callable[[int], Prompt]) -> list[Group]:
    """The inverse. Raises CheckpointError for anything else."""
    try:
        return [
            [_scored(prompt, number, response) for response in group["responses"]]
            for number, group in enumerate(data)
            for prompt in [prompt_of(group["row"])]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the surplus groups of the checkpoint cannot be read ({error!r})") from error


def _response(row: Scored) -> dict[str, Any]:
    trajectory, verdict = row.trajectory, row.verdict
    return {
        "index": trajectory.index,
        "ids": _pack(trajectory.response_ids, np.int32),
        "logprobs": _pack(trajectory.rollout_logprobs, np.float32),
        "text": trajectory.text,
        "truncated": trajectory.truncated,
        "source": trajectory.source.value,
        "weight_version": trajectory.weight_version,
        "verdict": (
            {"overall": float(verdict.overall), "parts": {name: float(part) for name, part in verdict.parts.items()}}
            if isinstance(verdict, Score)
            else {"reason": verdict.reason}
        ),
    }


def _scored(prompt: Prompt, group: int, data: Mapping[str, Any]) -> Scored:
    trajectory = Trajectory(
        prompt=prompt,
        group=group,
        index=data["index"],
        response_ids=_unpack(data["ids"], np.int32),
        rollout_logprobs=_unpack(data["logprobs"], np.float32),
        text=data["text"],
        truncated=data["truncated"],
        source=Source(data["source"]),
        weight_version=data["weight_version"],
    )
    return Scored(trajectory=trajectory, verdict=_verdict(data["verdict"]))


def _verdict(data: Mapping[str, Any]) -> Verdict:
    return NotScorable(**data) if "reason" in data else Score(**data)


def _pack(values: NDArray[Any], dtype: DTypeLike) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode("ascii")


def _unpack(text: str, dtype: DTypeLike) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=dtype).copy()
