# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Save and resume: the policy's part and the driver's part, committed together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from verl.checkpoint.layout import ACTOR, CheckpointRoot, Tracker, read_state
from verl.checkpoint.retention import prune
from verl.trainer.handles import Policy
from verl.trainer.state import TrainState


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """Where this run saves, and from where it resumes."""

    root: CheckpointRoot
    policy: Policy
    limit: int  # checkpoints to keep, all when below 1
    resume_from: Path | None  # an explicit global_step_N folder
    find_last: bool
    announce: Callable[[str], None]

    def resume(self) -> TrainState | None:
        """Load the checkpoint to go on from. None when the run starts anew."""
        path = self.resume_from or (self.root.find_last() if self.find_last else None)
        if path is None:
            return None
        state = TrainState.from_json(read_state(path))
        self.policy.load(path / ACTOR)
        self.announce(f"resumed from {path} (step {state.step})")
        return state

    def save(self, state: TrainState) -> None:
        """Write a checkpoint, then prune."""
        temporary = self.root.begin(state.step)
        self.policy.save(temporary / ACTOR)
        tracker = Tracker(
            last_global_step=state.step,
            best_global_step=state.best_step,
            best_val_reward_score=state.best_score,
        )
        self.root.commit(temporary, state.to_json(), tracker)
        prune(self.root, self.limit)
