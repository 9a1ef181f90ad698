# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Rows that count among their siblings and are not trained on."""

from __future__ import annotations

from collections.abc import Sequence

from verl.cluster.deal import Deal
from verl.errors import NoSignal
from verl.tracking.metrics import Mean, Metrics
from verl.types import Experience


def without_truncated(deals: Sequence[Deal[Experience]]) -> tuple[list[Deal[Experience]], Metrics]:
    """The optimiser steps without responses that were cut off, whose advantages had a part in those of the others.

    They are in none of the counts that losses are divided by (overlong filtering, arXiv 2503.14476, section 3.4). A
    step that is left without a row is not taken. Raises NoSignal when that is every one.
    """
    kept = [deal.keep(lambda row: not row.trajectory.truncated) for deal in deals]
    num_rows, num_kept = (sum(deal.num_rows for deal in some) for some in (deals, kept))
    if not num_kept:
        raise NoSignal(
            f"all {num_rows} responses were cut off at data.max_response_length, and algorithm.mask_truncated leaves"
            " such out of the loss; raise the former, or set the latter to false"
        )
    return [deal for deal in kept if deal.num_rows], {"rollout/masked_share": Mean(num_rows - num_kept, num_rows)}
