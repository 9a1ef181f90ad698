# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Position ids, from token counts and patch grids alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Block(NamedTuple):
    """A run of vision tokens: where it starts in the prompt, its height and width in tokens, when its moments are."""

    start: int
    height: int
    width: int
    times: tuple[int, ...] = (0,)  # ascending, in positions from the first moment


def text_positions(num_tokens: int) -> NDArray[np.int64]:
    """0, 1, 2, ... as [1, num_tokens]."""
    return np.arange(num_tokens, dtype=np.int64)[None]


def mrope_positions(num_tokens: int, blocks: Sequence[Block]) -> NDArray[np.int64]:
    """Text, time, height and width positions [4, num_tokens] (arXiv 2409.12191).

    Text advances the last three axes together. A block spans its times, its height and its width, and what follows it
    continues after the longest of them.
    """
    positions = np.empty((4, num_tokens), dtype=np.int64)
    positions[0] = np.arange(num_tokens)
    done, following = 0, 0
    for start, height, width, times in blocks:
        positions[1:, done:start] = following + np.arange(start - done)
        following += start - done
        done = start + len(times) * height * width
        positions[1, start:done] = following + np.repeat(times, height * width)
        positions[2, start:done] = following + np.tile(np.repeat(np.arange(height), width), len(times))
        positions[3, start:done] = following + np.tile(np.arange(width), len(times) * height)
        following += max(times[-1] + 1, height, width)
    positions[1:, done:] = following + np.arange(num_tokens - done)
    return positions


def continue_positions(positions: NDArray[np.int64], num_tokens: int) -> NDArray[np.int64]:
    """[A, P] of a prompt -> [A, num_tokens] of text after it: past its length and its largest position."""
    starts = np.full((len(positions), 1), positions.shape[1], dtype=np.int64)
    if len(positions) > 1:
        starts[1:] = positions[1:].max() + 1
    return starts + np.arange(num_tokens)
