# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Frame-exact sparse decoding with PyAV.

A pass over the packets gives the display time of every frame: that table, not a header, defines frame numbers.
Then only what is needed is decoded: seek where a keyframe lies between two targets, and skip frames that no other
frame refers to. Every frame that comes out is matched by its time; where table and decoder disagree, the file is
decoded from its beginning, and numbered by what comes out if even that disagrees.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, pairwise

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from verl.errors import MediaError
from verl.media.decode import DECODERS, Stream
from verl.media.resize import RESIZERS
from verl.types import VideoClip, VideoMetadata, VideoSpec

TRUSTED_CONTAINERS = {"mov", "matroska", "mpegts"}  # their packets carry the times of their frames


class _MismatchError(Exception):
    """The decoder returns other frames than the packets promise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    pts: tuple[int, ...]  # display time of every frame in units of time_base, ascending
    keyframes: tuple[int, ...]  # those that decoding can start from
    time_base: Fraction
    header_rate: Fraction | None
    trusted: bool  # False: frame numbers must come from decoding

    def rate(self) -> Fraction:
        """Frames per second: the header's if the frame times agree with it, else the mean of the times."""
        span = (self.pts[-1] - self.pts[0]) * self.time_base
        gaps = len(self.pts) - 1
        if self.header_rate and abs(gaps / self.header_rate - span) <= 2 * self.time_base:
            return self.header_rate
        if span <= 0:
            raise MediaError("neither the header nor the frame times tell a frame rate")
        return gaps / span

    def times(self) -> NDArray[np.float64]:
        """Seconds from the first frame."""
        ticks = np.asarray(self.pts, np.int64) - self.pts[0]
        return ticks * self.time_base.numerator / self.time_base.denominator


# Yields (frame number, frame) for the given ascending frame numbers.
_Picker = Callable[[InputContainer, _Table, Sequence[int]], Iterator[tuple[int, VideoFrame]]]


class PyavDecoder:
    """The default decoder: exact on every file it accepts, one thread, memory for one full-size frame at a time."""

    def probe(self, path: str, spec: VideoSpec) -> VideoMetadata:
        """Reads packets and decodes one frame; decodes all where packets do not tell frame times."""
        with _library_errors():
            table = _scan(path)
            return _stream(path, table if table.trusted else _count(path, table)).metadata(spec)

    def decode(self, path: str, spec: VideoSpec) -> VideoClip:
        """Tries the cheapest way first; every way that is accepted gives the same frames."""
        with _library_errors():
            table = _scan(path)
            for pick in (_seek, _sweep) if table.trusted else ():
                try:
                    return _clip(path, spec, table, pick)
                except (_MismatchError, av.error.InvalidDataError):
                    continue
            return _clip(path, spec, _count(path, table), _enumerate)


DECODERS.register("pyav")(PyavDecoder())


@contextmanager
def _library_errors() -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as error:
        raise MediaError(f"cannot be decoded ({error.strerror}); the file is damaged or not a video") from error
    except _MismatchError as error:
        raise MediaError(f"cannot be decoded: {error}") from error


@contextmanager
def _opened(path: str) -> Iterator[InputContainer]:
    with av.open(path, metadata_errors="ignore") as container:
        if not container.streams.video:
            raise MediaError("has no video stream")
        context = _video(container).codec_context
        context.thread_type = "NONE"
        context.thread_count = 1
        context.options = {"err_detect": "explode"}  # else most damaged frames come out garbled, without an error
        yield container


def _video(container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")  # not the cover art
    assert isinstance(stream, VideoStream)
    return stream


def _scan(path: str) -> _Table:
    with _opened(path) as container:
        stream = _video(container)
        shown = [
            (packet.pts, packet.is_keyframe, packet.is_corrupt)
            for packet in container.demux(stream)
            if not packet.is_discard and (packet.size or packet.pts is not None)  # edited out; end of stream
        ]
        if any(corrupt for _, _, corrupt in shown):
            raise MediaError("is cut off or damaged: a packet is incomplete")
        times = {pts for pts, _, _ in shown if pts is not None}
        formats = set(container.format.name.split(","))
        return _Table(
            pts=tuple(sorted(times)),
            keyframes=tuple(sorted(pts for pts, keyframe, _ in shown if keyframe and pts is not None)),
            time_base=stream.time_base or Fraction(1, 1000),
            header_rate=stream.average_rate or stream.guessed_rate,
            trusted=bool(TRUSTED_CONTAINERS & formats) and len(times) == len(shown) > 0,
        )


def _count(path: str, scanned: _Table) -> _Table:
    """The table of what a plain decode from beginning to end returns."""
    with _opened(path) as container:
        times = [frame.pts for frame in container.decode(_video(container))]
    if not times:
        raise MediaError("has no frame that can be decoded")
    known = [time for time in times if time is not None]
    if len(known) == len(times) and all(before < after for before, after in pairwise(known)):
        return replace(scanned, pts=tuple(known))
    if not scanned.header_rate:
        raise MediaError("neither the header nor the frame times tell a frame rate")
    return replace(scanned, pts=tuple(range(len(times))), time_base=1 / scanned.header_rate)


def rotation_of(path: str) -> int:
    """Degrees clockwise, 0, 90, 180 or 270, that turn the decoded frames of `path` upright. Raises MediaError."""
    with _library_errors():
        return _rotation(_first_frame(path))


def _rotation(frame: VideoFrame) -> int:
    return 90 * (round(-frame.rotation / 90) % 4)  # PyAV counts counter-clockwise


def _first_frame(path: str) -> VideoFrame:
    with _opened(path) as container:
        first = next(container.decode(_video(container)), None)
    if first is None:
        raise MediaError("has no frame that can be decoded")
    return first


def _stream(path: str, table: _Table) -> Stream:
    first = _first_frame(path)
    rotation = _rotation(first)
    upright = (first.height, first.width) if rotation % 180 == 0 else (first.width, first.height)
    return Stream(
        decoder="pyav",
        times=table.times(),
        fps=float(table.rate()),
        height=upright[0],
        width=upright[1],
        rotation=rotation,
    )


def _clip(path: str, spec: VideoSpec, table: _Table, pick: _Picker) -> VideoClip:
    metadata = _stream(path, table).metadata(spec)
    slots = {index: slot for slot, index in enumerate(metadata.frame_indices)}
    resize = RESIZERS.resolve(spec.resize)
    frames = np.empty((len(slots), 3, metadata.height, metadata.width), np.uint8)
    with _opened(path) as container:
        for index, frame in pick(container, table, metadata.frame_indices):
            image = np.asarray(frame.to_ndarray(format="rgb24", threads=1), np.uint8)
            if metadata.rotation:
                image = np.ascontiguousarray(np.rot90(image, -metadata.rotation // 90))
            resize(image, frames[slots.pop(index)])
    if slots:
        raise _MismatchError(f"frames {sorted(slots)} were not returned")
    return VideoClip(frames=frames, metadata=metadata)


def _seek(container: InputContainer, table: _Table, indices: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    stream = _video(container)
    targets = {table.pts[index] for index in indices}
    frames, position = _needed(container, targets), table.pts[0]
    for index in indices:
        target = table.pts[index]
        keyframe = _last_at_or_before(table.keyframes, target)
        if keyframe is not None and keyframe > position:
            container.seek(keyframe, stream=stream, backward=True, any_frame=False)
            frames, position = _needed(container, targets), table.pts[0]
        frame = _advance(frames, position, target)
        position = target
        yield index, frame


def _advance(frames: Iterator[VideoFrame], position: int, target: int) -> VideoFrame:
    for frame in frames:
        if frame.pts is None or frame.pts < position:
            raise _MismatchError("frames come out of display order")
        position = frame.pts
        if position == target:
            return frame
        if position > target:
            break
    raise _MismatchError(f"the frame at {target} was not returned")


def _needed(container: InputContainer, targets: set[int]) -> Iterator[VideoFrame]:
    """Decode from here on, leaving out frames that are neither targets nor referred to by others."""
    stream = _video(container)
    for packet in container.demux(stream):
        stream.codec_context.skip_frame = "DEFAULT" if packet.pts in targets else "NONREF"
        yield from packet.decode()


def _sweep(container: InputContainer, table: _Table, indices: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    wanted = {table.pts[index]: index for index in indices}
    for frame in container.decode(_video(container)):
        if frame.pts in wanted:
            yield wanted.pop(frame.pts), frame
        if not wanted:
            return


def _enumerate(container: InputContainer, table: _Table, indices: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    wanted = set(indices)
    for index, frame in enumerate(islice(container.decode(_video(container)), max(wanted) + 1)):
        if index in wanted:
            yield index, frame


def _last_at_or_before(times: Sequence[int], time: int) -> int | None:
    position = bisect_right(times, time)
    return times[position - 1] if position else None
