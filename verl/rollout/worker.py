# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What vLLM's worker imports on our behalf, before it loads the model: named by `worker_extension_cls`."""

from __future__ import annotations

from verl.rollout import lifeline, shm

shm.register()
lifeline.follow()


class WorkerExtension:
    """Adds nothing to the worker. Importing this module is what counts."""
