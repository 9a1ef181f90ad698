# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What can be saved of damaged files, for those who ask for it by the name `pyav_tolerant`.

Damage does not end at the frame it hits: what refers to that frame comes out garbled, mostly without an error. So
everything from a damaged place to the next keyframe is left out, with the few frames before it that the decoder still
held. Frames are numbered by what comes out, and the number of damaged places is in the metadata. Every file is decoded
from beginning to end, twice.
"""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from verl.errors import MediaError
from verl.media.cutoff import missing_bytes
from verl.media.decode import DECODERS, Stream
from verl.media.pyav_decoder import header_table, library_errors, opened, stream_of, upright_image, video_stream
from verl.media.resize import RESIZERS
from verl.types import VideoClip, VideoMetadata, VideoSpec


class TolerantDecoder:
    """Gives what the default decoder gives for sound files, and clips with gaps for damaged ones."""

    def probe(self, path: str, spec: VideoSpec) -> VideoMetadata:
        """Decodes the whole file."""
        with library_errors():
            return _survey(path).metadata(spec)

    def decode(self, path: str, spec: VideoSpec) -> VideoClip:
        """The frames that `spec` asks for, of those that are sound."""
        with library_errors():
            metadata = _survey(path).metadata(spec)
            resize = RESIZERS.resolve(spec.resize)
            frames = np.empty((metadata.num_frames, 3, metadata.height, metadata.width), np.uint8)
            slots = {index: slot for slot, index in enumerate(metadata.frame_indices)}
            with opened(path) as container:
                for index, frame in enumerate(_Salvage().frames(container)):
                    if index in slots:
                        resize(upright_image(frame, metadata.rotation), frames[slots[index]])
            return VideoClip(frames=frames, metadata=metadata)


DECODERS.register("pyav_tolerant")(TolerantDecoder())


def _survey(path: str) -> Stream:
    salvage, first, times = _Salvage(), None, []
    with opened(path) as container:
        for frame in salvage.frames(container):
            first = first or frame
            times.append(frame.pts)
        table = header_table(container).counted(times)
    if first is None:
        raise MediaError("has no frame that can be decoded")
    return stream_of("pyav_tolerant", table, first, salvage.errors + (missing_bytes(path) > 0))


class _Salvage:
    """Sound frames, and how many damaged places were met between them."""

    def __init__(self) -> None:
        self.errors = 0
        self._lost = False  # until the next keyframe

    def frames(self, container: InputContainer) -> Iterator[VideoFrame]:
        context = video_stream(container).codec_context
        for packet in self._packets(container):
            if self._lost and not packet.is_keyframe:
                continue
            self._lost = packet.is_corrupt
            found = [] if self._lost else self._decoded(packet)
            if self._lost:
                self.errors += 1
                context.flush_buffers()
            yield from found

    def _packets(self, container: InputContainer) -> Iterator[Packet[VideoStream]]:
        try:
            yield from container.demux(video_stream(container))
        except av.error.InvalidDataError:
            self.errors += 1  # nothing behind this place can be found

    def _decoded(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        try:
            found = [frame for frame in packet.decode() if isinstance(frame, VideoFrame)]
        except av.error.InvalidDataError:
            found = []
            self._lost = True
        self._lost = self._lost or any(frame.is_corrupt for frame in found)
        return [] if self._lost else found
