# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The kernel that GPUs run for packed rows, against the plain code that a CPU runs, forwards and backwards.

Not yet run on a GPU: the tolerances are expectations, not measurements.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from verl.models import segments as seg

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

ROWS = {
    "shared": seg.group_segments([(37, [5, 1, 64]), (1, [3]), (200, [])]),
    "plain": seg.plain_segments([130, 1, 17, 64]),
}


def passed(inputs: list[Tensor], segments: seg.Segments) -> list[Tensor]:
    """Output, and gradients of queries, keys and values."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    output, _ = seg.attention(nn.Module(), *leaves, None, segments=segments.to(leaves[0].device))
    generator = torch.Generator().manual_seed(1)
    output.backward(torch.randn(output.shape, generator=generator).to(output))
    return [output, *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@pytest.mark.parametrize("heads", [(4, 4), (8, 2)])
@pytest.mark.parametrize("row", ROWS)
def test_the_kernel_computes_what_the_plain_code_does(row: str, heads: tuple[int, int]) -> None:
    segments, generator = ROWS[row], torch.Generator().manual_seed(0)
    shapes = [(1, count, segments.num_tokens, 128) for count in (heads[0], heads[1], heads[1])]
    inputs = [torch.randn(shape, generator=generator) for shape in shapes]
    expected = passed(inputs, segments)
    found = passed([tensor.to("cuda", torch.bfloat16) for tensor in inputs], segments)
    assert len(found) == 4
    for left, right in zip(found, expected, strict=True):
        assert float((left.float().cpu() - right).norm() / right.norm()) < 0.01
