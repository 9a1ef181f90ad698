# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.rows import trajectory
from verl.algorithms.correction import Bounds, Correction, parse_rejections
from verl.tracking.metrics import values
from verl.trainer.mismatch import correct
from verl.types import Source, Trajectory


def rows(*gaps: list[float]) -> tuple[list[Trajectory], list[np.ndarray]]:
    """Responses and the trainer's log-probs of them, which are so far above the engine's."""
    made = []
    for index, gap in enumerate(gaps):
        one = trajectory(0, index)
        engine = np.full(len(gap), -2.0, np.float32)
        made.append(replace(one, response_ids=np.arange(len(gap), dtype=np.int32), rollout_logprobs=engine))
    return made, [np.float32(-2.0) + np.array(gap, np.float32) for gap in gaps]


def test_the_mismatch_is_measured_without_any_correction() -> None:
    weights, metrics = correct(*rows([0.1, -0.3], [1.0]), Correction())
    assert weights is None
    found = values(metrics)
    rho = np.exp([0.1, -0.3, 1.0])
    assert found["rollout/logprob_gap_max"] == pytest.approx(1.0)
    assert found["rollout/logprob_gap_mean"] == pytest.approx(1.4 / 3)
    assert found["rollout/mismatch_kl"] == pytest.approx(np.mean(rho - 1 - np.log(rho)), rel=1e-6)
    assert found["rollout/effective_sample_share"] == pytest.approx(rho.sum() ** 2 / (rho**2).sum() / 3, rel=1e-6)
    assert found["rollout/ratio_clipped_share"] == pytest.approx(1 / 3)  # e is above 2


def test_agreement_is_an_effective_sample_of_everything() -> None:
    found = values(correct(*rows([0.0, 0.0], [0.0]), Correction())[1])
    assert found["rollout/effective_sample_share"] == 1 and found["rollout/mismatch_kl"] == 0


def test_weights_follow_their_rows_and_rejection_makes_them_zero() -> None:
    how = Correction(level="token", rejections=parse_rejections("token_k1", "0.5_4.0"))
    weights, metrics = correct(*rows([0.5, -1.0], [1.0, 3.0, 0.0]), how)
    assert weights is not None
    assert weights[0].tolist() == pytest.approx([math.exp(0.5), 0.0], rel=1e-6)
    assert weights[1].tolist() == pytest.approx([2.0, 0.0, 1.0], rel=1e-6)
    assert values(metrics)["rollout/rejected_share"] == pytest.approx(2 / 5)
    assert weights[0].dtype == np.float32


def test_a_sequence_is_clipped_as_a_whole() -> None:
    how = Correction(level="sequence", bounds=Bounds(high=1.5))
    weights, metrics = correct(*rows([0.1, 0.1], [1.0, 0.5]), how)
    assert weights is not None
    assert weights[0].tolist() == pytest.approx([math.exp(0.2)] * 2, rel=1e-6)
    assert weights[1].tolist() == [1.5, 1.5]
    assert values(metrics)["rollout/ratio_clipped_share"] == 0.5


def test_what_another_author_wrote_is_neither_measured_nor_weighed() -> None:
    made, ours = rows([9.0, 9.0], [0.25])
    made[0] = replace(made[0], source=Source.OFFLINE, rollout_logprobs=np.full(2, np.nan, np.float32))
    weights, metrics = correct(made, ours, Correction(level="token"))
    assert weights is not None
    assert weights[0].tolist() == [1.0, 1.0]
    assert values(metrics)["rollout/logprob_gap_max"] == pytest.approx(0.25)
    assert correct(made[:1], ours[:1], Correction(level="token")) == (None, {})
