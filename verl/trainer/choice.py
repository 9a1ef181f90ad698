# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which tokens a loss chooses: decided here, where all rows of an optimiser step are, and sent along with the rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from verl.algorithms.contract import ChoiceInput, LossSettings
from verl.algorithms.policy_loss import PolicyLoss
from verl.cluster.deal import Deal
from verl.types import Experience, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Chooser:
    """The choice of a run's loss, if it makes one."""

    loss: PolicyLoss
    settings: LossSettings

    def choose(self, update: Deal[Experience]) -> Deal[Experience]:
        """The same rows of one optimiser step, with the tokens that the loss chose among all of them."""
        if self.loss.choice is None or not update.num_rows:
            return update
        rows = update.gather(update.hands)
        lengths = torch.tensor([len(row.advantages) for row in rows])
        chosen = self.loss.choose(
            ChoiceInput(
                logprobs=_padded(row.old_logprobs for row in rows),
                advantages=_padded(row.advantages for row in rows),
                lots=_padded(_lots(row.trajectory) for row in rows),
                mask=torch.arange(int(lengths.max())) < lengths[:, None],
                settings=self.settings,
            )
        )
        return update.with_rows(
            [replace(row, chosen=own[: len(row.advantages)].numpy()) for row, own in zip(rows, chosen, strict=True)]
        )


def _padded(rows: Iterable[NDArray[Any]]) -> Tensor:
    """[B, R]"""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def _lots(row: Trajectory) -> NDArray[np.float64]:
    """[R] random numbers in [0, 1), the same for this response wherever it stands and whoever holds it."""
    seed = (row.weight_version, row.group, row.index)
    return np.random.default_rng(seed).random(len(row.response_ids))
