# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What vLLM's worker imports on our behalf, before it loads the model: named by `worker_extension_cls`."""

from __future__ import annotations

import torch

from verl.rollout import lifeline, shm

shm.register()
lifeline.follow()


class WorkerExtension:
    """What is added to the worker. Importing this module counts too."""

    def device_memory(self) -> int:
        """Bytes of this worker's CUDA device that are in use, by whatever process."""
        free, total = torch.cuda.mem_get_info()
        return total - free
