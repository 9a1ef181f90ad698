# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""AdamW whose moments take one byte each, in blocks of 256 with a scale (arXiv 2110.02861), by torchao.

Moments of a shard below 4096 values, or not a multiple of 256, stay as wide as the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from verl.errors import ConfigError

EXTRA = "adamw8bit"


def adamw_8bit(groups: Sequence[dict[str, Any]], *, lr: float, betas: tuple[float, float]) -> Optimizer:
    """8-bit AdamW; into bf16 weights it rounds at random. Raises ConfigError without torchao."""
    try:
        from torchao.optim import AdamW8bit
    except ImportError as error:
        raise ConfigError(
            f"optim.strategy=adamw_8bit needs torchao: pip install 'verl[{EXTRA}]' on every machine ({error})"
        ) from error

    class EagerAdamW8bit(AdamW8bit):
        """Without a compiler, which a CPU gains little from and may not have."""

        def step(self, closure: Any = None) -> Any:
            """See Optimizer."""
            with torch.compiler.set_stance("force_eager"):
                return super().step(closure)

    kind = AdamW8bit if groups[0]["params"][0].is_cuda else EagerAdamW8bit
    return kind(groups, lr=lr, betas=betas, bf16_stochastic_round=True)
