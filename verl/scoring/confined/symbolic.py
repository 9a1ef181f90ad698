# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Whether two formulas are equal, by math-verify; for a worker process, because some never come to an end."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from math_verify import parse, verify

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limits are off


def compare(request: dict[str, str]) -> bool:
    """Whether request["answer"] equals request["truth"]; both are LaTeX without dollar signs."""
    truth = _parse(request["truth"])
    answer = parse(f"${request['answer']}$", parsing_timeout=None)
    return bool(truth and answer and verify(truth, answer, timeout_seconds=None))


@lru_cache(maxsize=256)
def _parse(text: str) -> list[Any]:
    return parse(f"${text}$", parsing_timeout=None)
