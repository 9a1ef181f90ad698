# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How the frames of an entry are stored: as they are, packed without loss, or as JPEGs.

"raw" is mapped and costs nothing to read. "zrow" keeps every bit: each row of pixels minus the row above, through
zstd. The JPEG codecs change pixels, so their name is part of the recipe (`VideoSpec.lossy`) and of the key.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from verl.errors import ConfigError, MediaError
from verl.registry import nearest
from verl.types import VideoClip

RAW, ZROW = "raw", "zrow"

Frames = NDArray[np.uint8]
Block = bytes | memoryview


class Codec(Protocol):
    """Packs each frame into a block of its own."""

    @property
    def lossy(self) -> bool:
        """Whether frames come back changed."""

    @property
    def package(self) -> str:
        """The package that has a say in the bytes."""

    def encode(self, frames: Frames) -> list[bytes]:
        """One block per frame of uint8 [F, 3, H, W]."""

    def decode(self, blocks: Sequence[Block], out: Frames) -> None:
        """Fill `out`, uint8 [F, 3, H, W]. Raises ValueError for a block that holds anything but one such frame."""


@dataclass(frozen=True, slots=True)
class RowDelta:
    """Lossless: differences of neighbouring rows, zstd level 1."""

    lossy = False
    package = "zstandard"

    def encode(self, frames: Frames) -> list[bytes]:
        """As in Codec."""
        from zstandard import ZstdCompressor

        compressor = ZstdCompressor(level=1)
        blocks = []
        for frame in frames:
            rows = frame.copy()
            rows[:, 1:] -= frame[:, :-1]
            blocks.append(compressor.compress(rows.data))
        return blocks

    def decode(self, blocks: Sequence[Block], out: Frames) -> None:
        """As in Codec."""
        from zstandard import ZstdDecompressor, ZstdError, frame_content_size

        decompressor = ZstdDecompressor()
        for block, frame in zip(blocks, out, strict=True):
            try:
                if frame_content_size(block) != frame.size:  # asked first: the library believes it and allocates
                    raise ValueError("a zstd block is not of the size of a frame")
                rows = decompressor.decompress(block)
            except ZstdError as error:
                raise ValueError(f"a zstd block is damaged: {error}") from error
            frame[:] = np.frombuffer(rows, np.uint8).reshape(frame.shape)
        for row in range(1, out.shape[-2]):
            out[:, :, row] += out[:, :, row - 1]


@dataclass(frozen=True, slots=True)
class Jpeg:
    """Lossy: one JPEG per frame. `subsampling` as Pillow counts: 0 is 4:4:4, 2 is 4:2:0."""

    quality: int
    subsampling: int
    lossy = True
    package = "pillow"

    def encode(self, frames: Frames) -> list[bytes]:
        """As in Codec."""
        from PIL import Image

        blocks = []
        for frame in frames:
            block = io.BytesIO()
            picture = Image.fromarray(np.ascontiguousarray(frame.transpose(1, 2, 0)))
            picture.save(block, "JPEG", quality=self.quality, subsampling=self.subsampling)
            blocks.append(block.getvalue())
        return blocks

    def decode(self, blocks: Sequence[Block], out: Frames) -> None:
        """As in Codec."""
        from PIL import Image

        size = (out.shape[-1], out.shape[-2])
        for block, frame in zip(blocks, out, strict=True):
            try:
                with Image.open(io.BytesIO(block), formats=("JPEG",)) as picture:
                    if (picture.size, picture.mode) != (size, "RGB"):  # asked before pixels are allocated
                        raise ValueError(f"a JPEG is {picture.mode} {picture.size}, not RGB {size}")
                    frame[:] = np.asarray(picture).transpose(2, 0, 1)
            except (OSError, SyntaxError, LookupError, TypeError, Image.DecompressionBombError) as error:
                raise ValueError(f"a JPEG is damaged: {error}") from error


CODECS: dict[str, Codec] = {ZROW: RowDelta(), "jpeg95-444": Jpeg(95, 0), "jpeg95-420": Jpeg(95, 2)}


def check_storage(name: str, lossy: str | None) -> str:
    """The codec for entries of a recipe with this `lossy`, when `name` is asked for. Raises ConfigError.

    An entry of a lossy recipe can be stored in one way only. A lossy codec is never used for another recipe.
    """
    known = {RAW, *CODECS}
    for asked in (name, lossy or RAW):
        if asked not in known:
            raise ConfigError(
                f"unknown cache codec {asked!r}{nearest(asked, known)} (known: {', '.join(sorted(known))})"
            )
    if lossy is not None:
        if not CODECS[lossy].lossy:
            raise ConfigError(f"{lossy!r} loses nothing; ask for it as the storage of a cache, not as lossy")
        return lossy
    if name != RAW and CODECS[name].lossy:
        raise ConfigError(f"codec {name!r} changes pixels; ask for it in the recipe (lossy), so that the key says so")
    return name


def as_stored(clip: VideoClip, lossy: str | None) -> VideoClip:
    """`clip` as it would come back from an entry of a recipe with this `lossy`."""
    if lossy is None:
        return clip
    codec = CODECS[check_storage(RAW, lossy)]
    return replace(clip, frames=unpack(lossy, codec.encode(clip.frames), clip.frames.shape))


def unpack(name: str, blocks: Sequence[Block], shape: tuple[int, ...]) -> Frames:
    """Frames uint8 `shape` [F, 3, H, W] from the blocks of a codec. Raises ValueError."""
    try:
        frames = np.empty(shape, np.uint8)  # pages are the kernel's to give as they are filled
    except MemoryError as error:
        raise MediaError(f"there is no memory for frames {shape}") from error
    CODECS[name].decode(blocks, frames)
    return frames
