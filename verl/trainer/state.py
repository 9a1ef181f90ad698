# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Where a run stands: everything the driver must remember to go on exactly where it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from verl.errors import CheckpointError


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainState:
    """Steps done, the best validation among the checkpoints, and the position of everything that moves."""

    step: int = 0
    best_step: int | None = None
    best_score: float | None = None
    loader: Mapping[str, Any] = field(default_factory=dict)
    surplus: Sequence[Mapping[str, Any]] = ()
    kl: Mapping[str, float] = field(default_factory=dict)
    advantage: Mapping[str, Any] = field(default_factory=dict)

    def scored(self, score: float | None) -> TrainState:
        """After a validation of this step's weights; the best stays the best until a later one is higher."""
        if score is None or (self.best_score is not None and score <= self.best_score):
            return self
        return replace(self, best_step=self.step, best_score=score)

    def to_json(self) -> dict[str, Any]:
        """Plain data for the checkpoint."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainState:
        """The inverse of `to_json`. Raises CheckpointError when fields are missing or unknown."""
        try:
            return cls(**data)
        except TypeError as error:
            raise CheckpointError(f"the trainer state was written by another version ({error})") from error
