# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers that can be nearly right: distances, sizes, durations."""

from __future__ import annotations

from verl.rewards.contract import task
from verl.rewards.tasks.numerical import Numerical
from verl.scoring.numbers import Number, mean_relative_accuracy


@task("regression")
class Regression(Numerical):
    """Mean relative accuracy (arXiv 2412.14171)."""

    def closeness(self, number: Number, truth: Number) -> float:
        """Share of the ten thresholds the relative error stays within."""
        return mean_relative_accuracy(number, truth)
