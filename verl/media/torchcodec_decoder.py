# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Decoding with torchcodec in its exact mode, for machines where it is faster.

It needs the shared libraries of FFmpeg 4 to 8 on the system. Version 0.13 returns wrong frames, without an error, for
edit lists, transport and program streams and uneven times, and cannot read AVI with MPEG-4; tests keep the list.
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

INSTALL = "pip install 'torchcodec>=0.11,<0.14' and FFmpeg's shared libraries, or set the decoder to pyav"


class TorchcodecDecoder:
    """Optional decoder; frame numbers are whatever torchcodec says.

    Times are numbers divided by the mean rate: torchcodec tells the time of a frame only when it decodes it.
    """

    def probe(self, path: str, spec: VideoSpec) -> VideoMetadata:
        """Scans the file and decodes its first frame."""
        with _reader(path) as reader:
            return _stream(path, reader).metadata(spec)

    def decode(self, path: str, spec: VideoSpec) -> VideoClip:
        """See Decoder."""
        with _reader(path) as reader:
            metadata = _stream(path, reader).metadata(spec)
            return resized(metadata, spec, lambda index: reader.get_frame_at(index).data.numpy())


DECODERS.register("torchcodec")(TorchcodecDecoder())


@contextmanager
def _reader(path: str) -> Iterator[Any]:
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError) as error:  # the last two: a library that it needs does not load
        raise MediaError(f"needs torchcodec, which does not load here: {INSTALL}") from error
    try:
        yield VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
    except (RuntimeError, ValueError, IndexError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise MediaError(f"torchcodec cannot read it ({reason}); the decoder pyav reads more formats") from error


def _stream(path: str, reader: Any) -> Stream:
    found = reader.metadata
    if not found.num_frames or not found.average_fps:
        raise MediaError("torchcodec finds no frames or no frame rate; use the decoder pyav")
    height, width, _ = reader.get_frame_at(0).data.shape  # it turns frames itself
    return Stream(
        decoder="torchcodec",
        times=np.arange(found.num_frames) / found.average_fps,
        fps=float(found.average_fps),
        height=height,
        width=width,
        rotation=rotation_of(path),
    )
