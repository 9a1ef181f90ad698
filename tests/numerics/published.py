# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Cases that public implementations answered, read from tests/vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from verl.algorithms.contract import Average, Denominators, LossInput, LossSettings

VECTORS = Path(__file__).parents[1] / "vectors"
AVERAGES: dict[str, Average] = {
    "token-mean": "token",
    "seq-mean-token-mean": "seq",
    "seq-mean-token-mean-all": "seq",
    "seq-mean-token-sum": "seq_sum",
    "seq-mean-token-sum-norm": "seq_norm",
    "token-sum": "sum",
}


class Case:
    """A published case: inputs as tensors of its dtype, parameters, expected numbers."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.params: dict[str, Any] = raw["params"]
        self.expected: dict[str, Any] = raw["expected"]
        self.paper: dict[str, Any] = raw.get("paper", {})
        self._inputs = raw["inputs"]
        self._dtype = getattr(torch, raw["dtype"])
        self._tolerance = raw["tolerance"]

    def __contains__(self, name: str) -> bool:
        return name in self._inputs

    def __getitem__(self, name: str) -> Tensor:
        values = self._inputs[name]
        if name in ("index", "labels", "lengths"):
            return torch.tensor(values)
        if name in ("logits", "logit_grad_w") or (isinstance(values[0], list) and isinstance(values[0][0], list)):
            return torch.tensor(values, dtype=self._dtype)
        rows = [row if isinstance(row, list) else [row] * self["response_mask"].shape[1] for row in values]
        floats = torch.tensor([[float(v) for v in row] for row in rows], dtype=self._dtype)
        return floats.bool() if name.endswith("mask") else floats

    def numbers(self, name: str) -> list[float]:
        """An input of one number per row."""
        return list(self._inputs[name])

    def integers(self, name: str) -> list[list[int]]:
        """An input of token ids, padded rows of them."""
        return [list(row) for row in self._inputs[name]]

    def check(self, name: str, found: Tensor | float, scale: float = 1.0, where: Tensor | None = None) -> None:
        """`found` is what the paper says, or else what the implementation gave; only at `where`, if that is given."""
        expected = torch.tensor({**self.expected, **self.paper}[name], dtype=torch.float64)
        found = torch.as_tensor(found, dtype=torch.float64) * scale
        if where is not None:
            found, expected = found[where], expected[where]
        torch.testing.assert_close(found, expected, **self._tolerance)


def cases(file: str, *prefixes: str) -> dict[str, Case]:
    raw = json.loads((VECTORS / f"algorithms_{file}.json").read_text())
    return {name: Case(case) for name, case in raw.items() if name.startswith(prefixes or "")}


def each(found: dict[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", found.values(), ids=found.keys())


def denominators(case: Case, mask: Tensor) -> Denominators:
    local, params = Denominators.of(mask), case.params
    return Denominators(
        num_tokens=params.get("batch_num_tokens") or local.num_tokens,
        num_sequences=params.get("global_batch_size") or local.num_sequences,
        response_length=params.get("norm_const") or mask.shape[1],
    )


def loss_input(case: Case, logprobs: Tensor, **changes: Any) -> LossInput:
    mask, params = case["response_mask"], case.params
    weights = case["rollout_is_weights"] if "rollout_is_weights" in case else None  # noqa: SIM401
    clips = {"clip_low": params["clip_low"]} if "clip_low" in params else {}
    clips |= {"clip_high": params["clip_high"]} if "clip_high" in params else {}
    settings = {
        **clips,
        "clip_dual": params.get("clip_dual") or 1e9,
        "average": AVERAGES[params.get("agg", "token-mean")],
        **changes,
    }
    return LossInput(
        logprobs=logprobs,
        old_logprobs=case["old_log_probs"],
        advantages=case["advantages"],
        mask=mask,
        denominators=denominators(case, mask),
        weights=weights,
        settings=LossSettings(**settings),
    )
