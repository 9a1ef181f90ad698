# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A GPU normalises as a CPU does, bit by bit."""

from __future__ import annotations

import pytest
import torch

from verl.models.patches import Patches, PatchRecipe
from verl.types import Grid

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_pixel_value_of_every_channel_is_the_same_on_both(dtype: torch.dtype) -> None:
    recipe = PatchRecipe(
        patch_size=16,
        temporal_patch_size=1,
        merge_size=2,
        mean=(0.48145466, 0.4578275, 0.5),
        std=(0.26862954, 0.26130258, 0.5),
        rescale=1 / 255,
    )
    values = torch.arange(256, dtype=torch.uint8).repeat(600, 3)  # more patches than are normalised at a time
    patches = Patches(values=values, grid=Grid(6, 10, 10), recipe=recipe)
    found = patches.to("cuda").normalised(dtype)
    assert found.is_cuda
    assert torch.equal(found.cpu(), patches.normalised(dtype))
