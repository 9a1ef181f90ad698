# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What an engine must allow follows from the rows."""

from types import SimpleNamespace

import pytest

from verl.trainer.wiring import _most_media
from verl.types import Record


def rows(*counts: tuple[int, int]) -> SimpleNamespace:
    """A data set whose rows have so many videos and images."""
    fields = {"id": "1", "where": "r:1", "problem": "?", "answer": "A", "problem_type": "", "data_type": "text"}
    records = [Record(**fields, videos=("v",) * videos, images=("i",) * images) for videos, images in counts]
    return SimpleNamespace(records=records)


@pytest.mark.parametrize(
    ("train", "val", "most"),
    [
        ([(1, 0), (0, 3)], [(2, 1)], (2, 3)),
        ([(0, 1)], None, (0, 1)),
        ([(0, 0)], None, (1, 0)),
    ],
)
def test_limits_are_the_most_that_any_row_has(train, val, most):
    parts = SimpleNamespace(
        loader=SimpleNamespace(dataset=rows(*train)), val=None if val is None else rows(*val), benchmarks=None
    )
    limits = _most_media(parts)  # type: ignore[arg-type]
    assert (limits["max_videos"], limits["max_images"]) == most
