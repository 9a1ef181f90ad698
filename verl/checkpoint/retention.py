# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which checkpoints may go."""

from __future__ import annotations

from verl.checkpoint import durable
from verl.checkpoint.layout import CheckpointRoot


def prune(checkpoints: CheckpointRoot, limit: int) -> list[int]:
    """Delete the oldest complete checkpoints beyond `limit`; steps that went. Call it after a successful save.

    The last one and the best one always stay, so more than `limit` can remain. A limit below 1 keeps all.
    """
    tracker = checkpoints.tracker()
    if limit < 1 or tracker is None:
        return []
    steps = checkpoints.complete()
    kept = {tracker.last_global_step, tracker.best_global_step}
    excess = [step for step in steps if step not in kept][: max(len(steps) - limit, 0)]
    for step in excess:
        durable.remove_folder(checkpoints.step_dir(step))
    return excess
