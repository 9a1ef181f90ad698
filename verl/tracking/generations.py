# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the policy wrote, to be read by people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One response of a validation."""

    id: str
    problem: str
    response: str
    answer: str
    score: float | None  # None: no verdict was possible
