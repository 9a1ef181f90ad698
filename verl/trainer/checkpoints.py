# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Save and resume: the parts of policy, critic and driver, committed together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from verl.checkpoint.layout import ACTOR, CRITIC, CheckpointRoot, Tracker, read_state
from verl.checkpoint.retention import prune
from verl.errors import CheckpointError
from verl.trainer.handles import Critic, Policy
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
    critic: Critic | None = None

    def resume(self) -> TrainState | None:
        """Load the checkpoint to go on from. None when the run starts anew."""
        path = self.resume_from or (self.root.find_last() if self.find_last else None)
        if path is None:
            return None
        state = TrainState.from_json(read_state(path))
        if self.critic is not None:
            self._load_critic(self.critic, path / CRITIC)
        self.policy.load(path / ACTOR)
        self.announce(f"resumed from {path} (step {state.step})")
        return state

    def save(self, state: TrainState) -> None:
        """Write a checkpoint, then prune."""
        temporary = self.root.begin(state.step)
        self.policy.save(temporary / ACTOR)
        if self.critic is not None:
            self.critic.save(temporary / CRITIC)
        tracker = Tracker(
            last_global_step=state.step,
            best_global_step=state.best_step,
            best_val_reward_score=state.best_score,
        )
        self.root.commit(temporary, state.to_json(), tracker)
        prune(self.root, self.limit)

    @staticmethod
    def _load_critic(critic: Critic, folder: Path) -> None:
        if not folder.is_dir():
            raise CheckpointError(
                f"{folder.parent} was saved by a run without a critic: this one cannot go on from it. Start anew, with"
                " trainer.find_last_checkpoint=false and another trainer.save_checkpoint_path, from the merged model"
            )
        critic.load(folder)
