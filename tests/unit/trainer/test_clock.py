# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

import pytest

from verl.trainer.clock import Clock


def test_spans_of_one_name_add_up_and_outer_spans_contain_inner_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 4.0, 5.0, 7.0, 10.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    clock = Clock()
    with clock("step"):
        with clock("gen"):
            pass
        with clock("gen"):
            pass
    assert clock.collect() == {"timing_s/gen": 5.0, "timing_s/step": 10.0}


def test_collecting_starts_over() -> None:
    clock = Clock()
    with clock("gen"):
        pass
    clock.collect()
    assert clock.collect() == {}


def test_a_span_that_fails_is_still_measured() -> None:
    clock = Clock()
    with pytest.raises(ZeroDivisionError), clock("gen"):
        _ = 1 / 0
    assert "timing_s/gen" in clock.collect()
