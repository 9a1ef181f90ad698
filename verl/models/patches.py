# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Frames -> the patches that Qwen vision towers read.

Patches stay uint8 until the tower has them: a quarter of float32's bytes to keep and to send to the device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoImageProcessor, AutoVideoProcessor

from verl.errors import AlignmentError, ConfigError
from verl.types import Grid, MediaClip, MediaMetadata

_RUN = 512  # patches normalised at a time: what is in between stays in a CPU's cache, and small on any device


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patches:
    """A clip cut for the vision tower: the grid's patches in the tower's order."""

    values: Tensor  # [t * h * w, patch values] uint8
    grid: Grid
    recipe: PatchRecipe

    def to(self, device: torch.device | str) -> Patches:
        """The same patches on another device."""
        return replace(self, values=self.values.to(device))

    def normalised(self, dtype: torch.dtype) -> Tensor:
        """[t * h * w, patch values], computed in float32 and rounded to `dtype`, where the values are."""
        out = _room(self.values.shape, dtype, self.values.device)
        mean, std = (tensor.to(out.device) for tensor in self.recipe.normalisation())
        shape = (-1, *mean.shape[:1], self.recipe.patch_values // len(mean))  # patch, channel, the rest
        for pixels, target in zip(self.values.view(shape).split(_RUN), out.view(shape).split(_RUN), strict=True):
            target.copy_(pixels.float().sub_(mean).div_(std))
        return out


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

    def grid(self, metadata: MediaMetadata) -> Grid:
        """Patches of a clip or an image; an odd last frame counts twice. Raises AlignmentError for uneven sizes."""
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

    def cut(self, clip: MediaClip) -> Patches:
        """A clip's patches: one copy, by rows of patches, on one thread and without the interpreter's lock."""
        grid = self.grid(clip.metadata)
        out = np.empty((grid.t, grid.h * grid.w, self.patch_values), np.uint8)
        whole = clip.metadata.num_frames // self.temporal_patch_size
        first = whole * self.temporal_patch_size
        self._cut_moments(clip.frames[:first], out[:whole])
        if whole < grid.t:
            missing = self.temporal_patch_size - clip.metadata.num_frames % self.temporal_patch_size
            last = np.concatenate([clip.frames[first:], *[clip.frames[-1:]] * missing])
            self._cut_moments(last, out[whole:])
        return Patches(values=torch.from_numpy(out).view(-1, self.patch_values), grid=grid, recipe=self)

    def normalisation(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of pixels in 0..255, each [C, 1] float32.

        Tensors, never numbers: dividing by a number, a GPU multiplies by its inverse, which rounds differently.
        """
        mean, std = ((torch.tensor(values) * (1.0 / self.rescale))[:, None] for values in (self.mean, self.std))
        return mean, std

    def _cut_moments(self, frames: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Frames [k * temporal_patch_size, C, H, W] -> `out` [k, h * w, patch values]."""
        m, p, channels = self.merge_size, self.patch_size, len(self.mean)
        row = np.dtype((np.void, p))  # a row of one patch is copied as one value
        height, width = frames.shape[2] // (m * p), frames.shape[3] // (m * p)
        pixels = np.ascontiguousarray(frames).view(row)
        blocks = pixels.reshape(-1, self.temporal_patch_size, channels, height, m, p, width, m)
        # to: moment, merged row, merged column, row, column, channel, frame, y
        blocks = blocks.transpose(0, 3, 6, 4, 7, 2, 1, 5)
        out.view(row).reshape(blocks.shape)[...] = blocks


def _room(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """An empty tensor. On a CPU numpy allocates it, in huge pages: page faults cost as much as the arithmetic."""
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.empty((*shape[:-1], shape[-1] * dtype.itemsize), np.uint8)).view(dtype)


def _normalisation(processor: Any) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    if not (processor.do_rescale and processor.do_normalize):
        raise ConfigError(f"{type(processor).__name__}: do_rescale and do_normalize must be true")
    return tuple(processor.image_mean), tuple(processor.image_std), processor.rescale_factor
