# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Full-size RGB frames to the size a model wants. torch is imported at the first resize only."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from verl.registry import Registry


class Resizer(Protocol):
    """Resize `image` uint8 [h, w, 3] into `out` uint8 [3, H, W], which may be a slice of a larger array."""

    def __call__(self, image: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Fill `out`."""
        ...


RESIZERS: Registry[Resizer] = Registry("video resize")


@RESIZERS.register("tv2-u8-bicubic-aa")
def torchvision_bicubic(image: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Antialiased bicubic on the channels-last view: the pixels Hugging Face's video processors would make.

    It is the kernel that torchvision's v2 transforms call, called directly: torchvision takes 150 MB per process.
    """
    import torch

    channels_first = torch.from_numpy(image).permute(2, 0, 1)[None]
    size = out.shape[-2:]
    resized = torch.nn.functional.interpolate(channels_first, size, mode="bicubic", align_corners=False, antialias=True)
    torch.from_numpy(out).copy_(resized[0])
