# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How well a response keeps the form the prompt asks for."""

from __future__ import annotations

from enum import Enum

from verl.scoring.answers import Answer


class FormatPolicy(Enum):
    """Which form the prompt asks for."""

    ANSWER = "answer"  # one <answer> block, at the end
    THINK_ANSWER = "think_answer"  # a filled <think> block, then one <answer> block, and nothing else


def format_score(answer: Answer, is_typed: bool, policy: FormatPolicy) -> float:
    """1 for the form with an answer of the right type in it, 0.5 for the form alone, 0 for anything else."""
    keeps_form = answer.is_clean if policy is FormatPolicy.ANSWER else answer.is_reasoned
    return (1.0 if is_typed else 0.5) if keeps_form else 0.0
