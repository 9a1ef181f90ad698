# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Decoding with decord, for runs that must see the frames an older decord-based run saw.

decord 0.6 returns wrong frames, without an error, for edit lists, transport and program streams, open groups of
pictures, HEVC and AVI with B-frames, and wrong times and rates for uneven ones; tests keep the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from verl.errors import MediaError
from verl.media.decode import DECODERS, Stream, resized
from verl.media.pyav_decoder import rotation_of
from verl.types import VideoClip, VideoMetadata, VideoSpec


class DecordDecoder:
    """Optional decoder; frame numbers and times are whatever decord says."""

    def probe(self, path: str, spec: VideoSpec) -> VideoMetadata:
        """Opens the file and decodes its first frame."""
        with _reader(path) as reader:
            return _stream(path, reader).metadata(spec)

    def decode(self, path: str, spec: VideoSpec) -> VideoClip:
        """See Decoder."""
        with _reader(path) as reader:
            metadata = _stream(path, reader).metadata(spec)
            return resized(metadata, spec, lambda index: reader[index].asnumpy())


DECODERS.register("decord")(DecordDecoder())


@contextmanager
def _reader(path: str) -> Iterator[Any]:
    try:
        import decord
    except ImportError as error:
        raise MediaError("needs decord: pip install decord, or set the decoder to pyav") from error
    try:
        reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
    except (decord.DECORDError, RuntimeError, AssertionError) as error:
        raise _unreadable(error) from error
    try:
        yield reader
    except decord.DECORDError as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> MediaError:
    reason = str(error).strip().partition("\n")[0]
    return MediaError(f"decord cannot read it ({reason}); the decoder pyav reads more formats")


def _stream(path: str, reader: Any) -> Stream:
    rotation = rotation_of(path)
    if rotation:  # decord 0.6 turns some containers and not others, and hands out row padding as a fourth channel
        raise MediaError(f"is stored turned by {rotation} degrees, which decord gets wrong; use the decoder pyav")
    starts = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0].astype(np.float64)
    height, width, _ = reader[0].shape
    return Stream(
        decoder="decord",
        times=starts - starts[0],
        fps=float(reader.get_avg_fps()),
        height=height,
        width=width,
        rotation=0,
    )
