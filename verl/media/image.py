# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Image files to pixels: what the image processors of the Qwen families see after their own resize.

Pixels are RGB; transparency is dropped, as there. The orientation that a camera wrote into the file (EXIF) is undone
first, as in transformers' and vLLM's own loaders, so an image is upright whoever opens it. Nothing is cached: an image
is decoded from its file at each step, and its size is known from the file's header.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from verl.errors import ConfigError, MediaError
from verl.media.resize import RESIZERS
from verl.media.rules import MAX_ASPECT_RATIO
from verl.media.spec import source_id
from verl.types import ImageClip, ImageMetadata, ImageSpec, MediaRef

SIDEWAYS = range(5, 9)  # EXIF orientations that swap height and width
# What Pillow's readers raise on broken files.
BROKEN = (OSError, ValueError, SyntaxError, LookupError, TypeError, struct.error, Image.DecompressionBombError)


def check(spec: ImageSpec) -> None:
    """Raise ConfigError for a spec that can never work."""
    if not 0 < spec.min_pixels <= spec.max_pixels:
        raise ConfigError(
            f"image min_pixels and max_pixels must satisfy 0 < min <= max, got {spec.min_pixels} and {spec.max_pixels}"
        )
    if spec.align <= 0:
        raise ConfigError(f"image align must be positive, got {spec.align}")
    RESIZERS.resolve(spec.resize)


def plan_size(spec: ImageSpec, height: int, width: int) -> tuple[int, int]:
    """(height, width) in pixels to resize an upright image to: transformers' rule for Qwen's images.

    Multiples of `align` near the source's shape, with an area between `min_pixels` and `max_pixels`. As there, a
    side is never less than `align`, so very flat images can come out above `max_pixels`, and so can any image where
    the two limits are too close for a multiple in between. Raises MediaError for shapes that the rule refuses.
    """
    if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
        raise MediaError(f"aspect ratio of {height}x{width} exceeds {MAX_ASPECT_RATIO}")
    align = spec.align
    area = round(height / align) * round(width / align) * align**2
    if area > spec.max_pixels:
        shrink = math.sqrt(height * width / spec.max_pixels)
        return _floor(height / shrink, align), _floor(width / shrink, align)
    if area < spec.min_pixels:
        grow = math.sqrt(spec.min_pixels / (height * width))
        return math.ceil(height * grow / align) * align, math.ceil(width * grow / align) * align
    return round(height / align) * align, round(width / align) * align


def probe(path: str, spec: ImageSpec) -> ImageMetadata:
    """What `decode` would give, in numbers, from the file's header. Raises MediaError."""
    with _opened(path) as image:
        return _metadata(image, spec)


def decode(path: str, spec: ImageSpec) -> ImageClip:
    """The pixels that `spec` asks for. Raises MediaError, also for a file that ends too early."""
    with _opened(path) as image:
        metadata = _metadata(image, spec)
        pixels = _pixels(image)
    frames = np.empty((1, 3, metadata.height, metadata.width), np.uint8)
    RESIZERS.resolve(spec.resize)(pixels, frames[0])
    return ImageClip(frames=frames, metadata=metadata)


def upright(path: str) -> NDArray[np.uint8]:
    """RGB [H, W, 3] at full size. Raises MediaError, also for a file that ends too early."""
    with _opened(path) as image:
        return _pixels(image)


def upright_size(path: str) -> tuple[int, int]:
    """(height, width) of `upright`, from the file's header. Raises MediaError."""
    with _opened(path) as image:
        return _upright_size(image)


class ImageSource:
    """Turns the paths of images into references that any process can load."""

    def __init__(self, spec: ImageSpec) -> None:
        check(spec)
        self.spec = spec

    def measure(self, path: str | Path) -> ImageMetadata:
        """What loading the image at `path` will give, from its header. Raises MediaError."""
        return probe(source_id(path).path, self.spec)

    def ref(self, path: str | Path) -> MediaRef:
        """Reference to the image at `path`. Raises MediaError."""
        source = source_id(path)
        return MediaRef(
            path=source.path,
            spec=self.spec,
            key=self.spec.cache_key(source),
            entry=None,
            metadata=probe(source.path, self.spec),
        )


def _metadata(image: Image.Image, spec: ImageSpec) -> ImageMetadata:
    height, width = _upright_size(image)
    planned = plan_size(spec, height, width)
    return ImageMetadata(
        height=planned[0],
        width=planned[1],
        source_height=height,
        source_width=width,
        orientation=_orientation(image),
        resize=spec.resize,
    )


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size[::-1] if _orientation(image) in SIDEWAYS else image.size
    return height, width


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    upright = ImageOps.exif_transpose(image) if _orientation(image) != 1 else image
    return np.array(upright.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    """1 to 8. Of a PNG, what is written in front of the pixels: Pillow would decode it to look behind them."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
        return 1
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in range(1, 9) else 1


def _floor(side: float, align: int) -> int:
    return max(align, math.floor(side / align) * align)


@contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            if getattr(image, "is_animated", False) and image.format != "MPO":  # a camera's photo and its previews
                raise MediaError("holds several pictures; name it as a video, or write out the one that is meant")
            yield image
    except MediaError as error:
        raise MediaError(f"{path}: {error}") from error.__cause__
    except BROKEN as error:
        raise MediaError(f"{path}: cannot be read as an image: {error}") from error
