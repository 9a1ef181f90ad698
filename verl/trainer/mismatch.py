# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How far trainer and engine are apart on the tokens that were sampled: measured always, corrected on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from verl.algorithms.correction import Correction, accepted, log_rho, weights
from verl.tracking.metrics import Max, Mean, Metrics
from verl.types import Floats, Source, Trajectory


def correct(
    rows: Sequence[Trajectory], logprobs: Sequence[Floats], how: Correction
) -> tuple[list[Floats] | None, Metrics]:
    """What the loss of each row's tokens is multiplied by, None when nothing is corrected; and the mismatch.

    `rows` are all of a training step. What somebody else wrote has weight 1 and is not measured.
    """
    lengths = torch.tensor([len(row.response_ids) for row in rows])
    inside = torch.arange(int(lengths.max())) < lengths[:, None]
    mask = inside & torch.tensor([row.source is Source.POLICY for row in rows])[:, None]
    if not mask.any():
        return None, {}
    ours, theirs = (_padded(streams, inside) for streams in (logprobs, [row.rollout_logprobs for row in rows]))
    gap = log_rho(ours, theirs, mask)
    metrics = _distance((ours - theirs)[mask].abs()) | _ratios(gap, mask, how)
    if not how.is_active:
        return None, metrics
    found = weights(gap, mask, how)
    kept = accepted(gap, mask, how)
    metrics["rollout/correction_weight"] = _mean(found[mask])
    metrics["rollout/rejected_share"] = _mean((~kept)[mask])
    return [row[:length].numpy().astype(np.float32) for row, length in zip(found, lengths, strict=True)], metrics


def importance_weights(rows: Sequence[Trajectory], logprobs: Sequence[Floats], how: Correction) -> list[Floats] | None:
    """What `correct` weighs each row's tokens with before it rejects any; None when it only rejects, if that."""
    if how.level is None:
        return None
    return correct(rows, logprobs, replace(how, rejections=()))[0]


def _padded(values: Sequence[Floats], inside: Tensor) -> Tensor:
    padded = torch.zeros(inside.shape, dtype=torch.float64)
    padded[inside] = torch.from_numpy(np.concatenate(values)).double()
    return padded


def _distance(gaps: Tensor) -> Metrics:
    return {"rollout/logprob_gap_max": Max(float(gaps.max())), "rollout/logprob_gap_mean": _mean(gaps)}


def _ratios(gap: Tensor, mask: Tensor, how: Correction) -> Metrics:
    """KL of the trainer from the engine (k3), effective sample share, share of ratios outside the bounds."""
    logs = gap[mask]
    rho = logs.exp()
    beyond = ~how.bounds.holds(gap.sum(-1)[mask.any(-1)].exp() if how.level == "sequence" else rho)
    return {
        "rollout/mismatch_kl": _mean(rho - 1 - logs),
        "rollout/effective_sample_share": Mean(float(rho.sum() ** 2 / rho.square().sum()), float(len(rho))),
        "rollout/ratio_clipped_share": _mean(beyond),
    }


def _mean(values: Tensor) -> Mean:
    return Mean(float(values.double().sum()), float(values.numel()))
