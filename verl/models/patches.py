# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Frames -> the normalised patches that Qwen vision towers read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoImageProcessor, AutoVideoProcessor

from verl.errors import AlignmentError, ConfigError
from verl.models.adapter import Patches
from verl.types import Grid, VideoClip, VideoMetadata


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRecipe:
    """How a model folder wants frames cut and normalised."""

    patch_size: int  # pixels, height and width
    temporal_patch_size: int  # frames
    merge_size: int  # patches that become one token, along height and width
    mean: tuple[float, ...]  # per channel, of pixels in 0..1
    std: tuple[float, ...]
    rescale: float  # 0..255 -> 0..1

    @classmethod
    def read(cls, model_path: str) -> PatchRecipe:
        """The recipe in a model folder.

        Raises ConfigError when the image processor normalises differently from the video processor: vLLM
        normalises videos with the image processor's numbers, so rollout and training would differ.
        """
        try:
            image = AutoImageProcessor.from_pretrained(model_path, local_files_only=True)
            video = AutoVideoProcessor.from_pretrained(model_path, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read the image and video processors of {model_path!r}: {error}") from error
        if (ours := _normalisation(video)) != (theirs := _normalisation(image)):
            raise ConfigError(
                f"{model_path!r}: the video processor normalises (mean, std, rescale) by {ours}, the image "
                f"processor by {theirs}; vLLM takes the image processor's for videos: make the two agree"
            )
        mean, std, rescale = ours
        return cls(
            patch_size=video.patch_size,
            temporal_patch_size=video.temporal_patch_size,
            merge_size=video.merge_size,
            mean=mean,
            std=std,
            rescale=rescale,
        )

    @property
    def align(self) -> int:
        """Height and width of frames must be multiples of this."""
        return self.patch_size * self.merge_size

    @property
    def patch_values(self) -> int:
        """Numbers in one patch."""
        return len(self.mean) * self.temporal_patch_size * self.patch_size**2

    def grid(self, metadata: VideoMetadata) -> Grid:
        """Patches of a clip; an odd last frame counts twice. Raises AlignmentError for uneven sizes."""
        if metadata.height % self.align or metadata.width % self.align:
            raise AlignmentError(
                f"frames of {metadata.height}x{metadata.width} cannot be cut into blocks of {self.align}; "
                f"read the video with align={self.align}"
            )
        return Grid(
            t=-(-metadata.num_frames // self.temporal_patch_size),
            h=metadata.height // self.patch_size,
            w=metadata.width // self.patch_size,
        )

    def cut(self, clip: VideoClip) -> Patches:
        """A clip's patches, one temporal patch at a time, so that only the result is ever held as float32."""
        grid = self.grid(clip.metadata)
        values = torch.empty(grid.t, grid.h * grid.w, self.patch_values)
        for moment, out in enumerate(values):
            first = moment * self.temporal_patch_size
            self._cut_moment(clip.frames[first : first + self.temporal_patch_size], grid, out)
        return Patches(values=values.view(-1, self.patch_values), grid=grid)

    def _cut_moment(self, frames: NDArray[np.uint8], grid: Grid, out: Tensor) -> None:
        """Frames [<= temporal_patch_size, C, H, W] -> `out` [h * w, patch values]."""
        missing = self.temporal_patch_size - len(frames)
        pixels = torch.from_numpy(np.concatenate([frames, *[frames[-1:]] * missing]))
        m, p, channels = self.merge_size, self.patch_size, len(self.mean)
        blocks = pixels.view(self.temporal_patch_size, channels, grid.h // m, m, p, grid.w // m, m, p)
        # to: merged row, merged column, row, column, channel, frame, y, x
        blocks = blocks.permute(2, 5, 3, 6, 1, 0, 4, 7)
        out.view(blocks.shape).copy_(blocks)
        by_channel = out.view(grid.h * grid.w, channels, -1)
        by_channel.sub_(self._scaled(self.mean)).div_(self._scaled(self.std))

    def _scaled(self, values: tuple[float, ...]) -> Tensor:
        """Per-channel numbers in units of pixel values, [C, 1]."""
        return (torch.tensor(values) * (1.0 / self.rescale))[:, None]


def _normalisation(processor: Any) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    if not (processor.do_rescale and processor.do_normalize):
        raise ConfigError(f"{type(processor).__name__}: do_rescale and do_normalize must be true")
    return tuple(processor.image_mean), tuple(processor.image_std), processor.rescale_factor
