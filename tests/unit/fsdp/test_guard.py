# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from tests import policy_world
from verl.errors import WorkerError
from verl.fsdp.guard import MAX_NAMED, REPORT_BYTES, StepGuard
from verl.tracking.metrics import Mean, Metrics, Sum


def model(*broken: str) -> nn.Module:
    """Six tensors, those named with a gradient that is not finite."""
    made = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    for name, parameter in made.named_parameters():
        parameter.grad = torch.full_like(parameter, math.inf if name in broken else 1.0)
    return made


LOSSES: list[Metrics] = [
    {"actor/pg_loss": Mean(1.0, 2.0), "actor/kl_loss": Mean(math.nan, 2.0), "count": Sum(1.0)},
    {"actor/pg_loss": Mean(math.inf, 2.0), "actor/kl_loss": Mean(math.nan, 2.0)},
]


def test_only_steps_in_a_row_count() -> None:
    guard = StepGuard(limit=2)
    admitted = [guard.admits(norm, model(), []) for norm in (1.0, math.nan, 2.0, math.inf, 0.0)]
    assert admitted == [True, False, True, False, True]
    guard.admits(math.nan, model(), [])
    with pytest.raises(WorkerError, match="gradient norm nan: 2 optimizer steps in a row"):
        guard.admits(math.nan, model(), [])


def test_the_end_names_the_parts_of_the_loss_and_the_gradients() -> None:
    with pytest.raises(WorkerError) as error:
        StepGuard(limit=1).admits(math.nan, model("1.weight"), LOSSES)
    message = str(error.value)
    assert "actor/pg_loss in 1 of 2 micro-batches" in message and "actor/kl_loss in 2 of 2" in message
    assert "gradients of 1 of 6 tensors (1.weight)" in message
    assert "max_skipped_steps" in message


def test_a_finite_loss_is_not_blamed_and_many_tensors_are_not_listed(caplog: pytest.LogCaptureFixture) -> None:
    broken = [name for name, _ in model().named_parameters()]
    with caplog.at_level(logging.WARNING):
        assert not StepGuard().admits(math.inf, model(*broken), LOSSES[:0])
    assert f"gradients of 6 of 6 tensors ({', '.join(broken[:MAX_NAMED])}, ...)" in caplog.text
    assert "micro-batches" not in caplog.text and "left out" in caplog.text


def test_what_ranks_tell_each_other_is_bounded(tmp_path: Path) -> None:
    policy_world.one_rank(tmp_path)
    parts: list[Metrics] = [{f"part_{n}_{'x' * 40}": Mean(math.nan) for n in range(40)}]
    with pytest.raises(WorkerError, match=r"rank 0: part_0_x+ in 1 of 1 micro-batches.*and more") as error:
        StepGuard(limit=1).admits(math.nan, model(), parts)
    assert len(str(error.value)) < 2 * REPORT_BYTES
