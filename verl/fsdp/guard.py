# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What happens to an optimizer step whose gradient is not finite: it is left out, and a row of them ends the run."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from verl.errors import WorkerError
from verl.tracking.metrics import Mean, Metrics

MAX_NAMED = 3  # tensors that a message names
REPORT_BYTES = 1024  # of one rank's findings

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class StepGuard:
    """Lets steps with a finite gradient norm pass and counts the others. The norm, and so the count, is of all ranks.

    A step that is left out changes neither weights nor optimizer state. The learning rate moves on all the same: it
    follows training steps, so that a run ends at the rate it was told to end at.
    """

    limit: int = 3  # of steps left out in a row: that many end the run
    num_in_a_row: int = 0

    def admits(self, norm: float, model: nn.Module, parts: Sequence[Metrics]) -> bool:
        """Whether the step may be taken. Collective where it may not; to be asked before gradients are scaled.

        `parts` are the metrics of each micro-batch. Raises WorkerError, on all ranks, when `limit` is reached.
        """
        if math.isfinite(norm):
            self.num_in_a_row = 0
            return True
        self.num_in_a_row += 1
        found = _over_ranks([*_broken_losses(parts), *_broken_gradients(model)], next(model.parameters()).device)
        what = (
            f"gradient norm {norm}: {self.num_in_a_row} optimizer steps in a row without a finite gradient."
            f" Not finite: {', '.join(found) or 'nothing that is still there'}"
        )
        if self.num_in_a_row >= self.limit:
            raise WorkerError(
                f"{what}. Lower the learning rate or max_grad_norm, look at rollout/logprob_gap_max and at the rows of"
                " this step, and go on from the last checkpoint; optim.max_skipped_steps is how many are borne"
            )
        if not dist.is_initialized() or dist.get_rank() == 0:
            log.warning("%s; the step is left out", what)
        return False


def _broken_losses(parts: Sequence[Metrics]) -> Iterable[str]:
    """Parts of the loss that are not finite, in how many micro-batches."""
    counts: dict[str, int] = {}
    for part in parts:
        for name, metric in part.items():
            if isinstance(metric, Mean) and not math.isfinite(metric.total):
                counts[name] = counts.get(name, 0) + 1
    return [f"{name} in {count} of {len(parts)} micro-batches" for name, count in counts.items()]


def _broken_gradients(model: nn.Module) -> Iterable[str]:
    """Tensors whose gradient on this rank is not finite."""
    graded = [(name, parameter.grad) for name, parameter in model.named_parameters() if parameter.grad is not None]
    names = [name for name, grad in graded if not torch.isfinite(_local(grad)).all()]
    if not names:
        return []
    more = ", ..." if len(names) > MAX_NAMED else ""
    return [f"gradients of {len(names)} of {len(graded)} tensors ({', '.join(names[:MAX_NAMED])}{more})"]


def _local(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _over_ranks(found: Sequence[str], device: torch.device) -> list[str]:
    """What each rank found, with its number. Collective."""
    if not dist.is_initialized():
        return list(found)
    text = json.dumps(found).encode()
    while len(text) > REPORT_BYTES:
        found = found[:-1]
        text = json.dumps([*found, "and more"]).encode()
    own = torch.tensor(list(text.ljust(REPORT_BYTES)), dtype=torch.uint8, device=device)
    every = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(every, own)
    reports = [json.loads(bytes(report.tolist())) for report in every]
    return [f"rank {rank}: {'; '.join(report)}" for rank, report in enumerate(reports) if report]
