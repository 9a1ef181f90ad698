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
from verl.media.cutoff import missing_bytes
from verl.media.decode import DECODERS, Stream
from verl.media.resize import RESIZERS
from verl.types import VideoClip, VideoMetadata, VideoSpec

TRUSTED_CONTAINERS = {"mov", "matroska", "mpegts"}  # their packets carry the times of their frames


class _MismatchError(Exception):
    """The decoder returns other frames than the packets promise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTable:
    """When each frame is shown, in display order: the position in it is the number of a frame."""

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

    def counted(self, times: Sequence[int | None]) -> FrameTable:
        """The table of frames that came out with these times, which are used if they ascend."""
        if not times:
            raise MediaError("has no frame that can be decoded")
        known = [time for time in times if time is not None]
        if len(known) == len(times) and all(before < after for before, after in pairwise(known)):
            return replace(self, pts=tuple(known))
        if not self.header_rate:
            raise MediaError("neither the header nor the frame times tell a frame rate")
        return replace(self, pts=tuple(range(len(times))), time_base=1 / self.header_rate)

    def times(self) -> NDArray[np.float64]:
        """Seconds from the first frame."""
        ticks = np.asarray(self.pts, np.int64) - self.pts[0]
        return ticks * self.time_base.numerator / self.time_base.denominator


# Yields (frame number, frame) for the given ascending frame numbers.
_Picker = Callable[[InputContainer, FrameTable, Sequence[int]], Iterator[tuple[int, VideoFrame]]]


class PyavDecoder:
    """The default decoder: exact on every file it accepts, one thread, memory for one full-size frame at a time."""

    def probe(self, path: str, spec: VideoSpec) -> VideoMetadata:
        """Reads packets and decodes one frame; decodes all where packets do not tell frame times."""
        with library_errors():
            _, stream = _examine(path)
            return stream.metadata(spec)

    def decode(self, path: str, spec: VideoSpec) -> VideoClip:
        """Tries the cheapest way first; every way that is accepted gives the same frames."""
        with library_errors():
            table, stream = _examine(path)
            for pick in (_seek, _sweep) if table.trusted else ():
                try:
                    return _clip(path, spec, (table, stream), pick)
                except (_MismatchError, av.error.InvalidDataError):
                    continue
            if table.trusted:
                table = _count(path, table)
                stream = replace(stream, times=table.times(), fps=float(table.rate()))
            return _clip(path, spec, (table, stream), _enumerate)


DECODERS.register("pyav")(PyavDecoder())


@contextmanager
def library_errors() -> Iterator[None]:
    """Turn the library's errors into MediaError."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise MediaError(f"cannot be decoded ({error.strerror}); the file is damaged or not a video") from error
    except _MismatchError as error:
        raise MediaError(f"cannot be decoded: {error}") from error


@contextmanager
def opened(path: str) -> Iterator[InputContainer]:
    """A file with a video stream, to be decoded strictly and on one thread."""
    with av.open(path, metadata_errors="ignore") as container:
        if not container.streams.video:
            raise MediaError("has no video stream")
        context = video_stream(container).codec_context
        context.thread_type = "NONE"
        context.thread_count = 1
        context.options = {"err_detect": "explode"}  # else most damaged frames come out garbled, without an error
        yield container


def video_stream(container: InputContainer) -> VideoStream:
    """The film, not the cover art."""
    stream = container.streams.best("video")
    assert isinstance(stream, VideoStream)
    return stream


def _examine(path: str) -> tuple[FrameTable, Stream]:
    """The frames of a file and their look. Packets are believed if the first frame that comes out is theirs."""
    table, first = _scan(path), _first_frame(path)
    if not table.trusted or first.pts != table.pts[0]:
        table = _count(path, replace(table, trusted=False))
    return table, stream_of("pyav", table, first)


def header_table(container: InputContainer) -> FrameTable:
    """What the header says, which is nothing about single frames."""
    stream = video_stream(container)
    rate = stream.average_rate or stream.guessed_rate
    return FrameTable(
        pts=(), keyframes=(), time_base=stream.time_base or Fraction(1, 1000), header_rate=rate, trusted=False
    )


def _scan(path: str) -> FrameTable:
    """What the packets say. Raises MediaError if one of them is incomplete, or the end of the file is missing."""
    with opened(path) as container:
        stream = video_stream(container)
        shown = [
            (packet.pts, packet.is_keyframe, packet.is_corrupt)
            for packet in container.demux(stream)
            if not packet.is_discard and (packet.size or packet.pts is not None)  # edited out; end of stream
        ]
        if any(corrupt for _, _, corrupt in shown):
            raise MediaError("is cut off or damaged: a packet is incomplete")
        if missing := missing_bytes(path):
            raise MediaError(f"is cut off or damaged: its end is missing, {missing} bytes by its own account")
        known = [(pts, keyframe) for pts, keyframe, _ in shown if pts is not None]
        times = {pts for pts, _ in known}
        formats = set(container.format.name.split(","))
        return replace(
            header_table(container),
            pts=tuple(sorted(times)),
            keyframes=tuple(sorted(pts for pts, keyframe in known if keyframe)),
            trusted=bool(TRUSTED_CONTAINERS & formats) and len(times) == len(shown) > 0 and _goes_on(known),
        )


def _goes_on(packets: Sequence[tuple[int, bool]]) -> bool:
    """Time never jumps back: what is read before a keyframe is shown before it."""
    latest = packets[0][0]
    for pts, keyframe in packets:
        if keyframe and pts < latest:
            return False
        latest = max(latest, pts)
    return True


def _count(path: str, scanned: FrameTable) -> FrameTable:
    """The table of what a plain decode from beginning to end returns."""
    with opened(path) as container:
        return scanned.counted([frame.pts for frame in _sound(container)])


def _sound(container: InputContainer) -> Iterator[VideoFrame]:
    """All frames from here on."""
    return map(_checked, container.decode(video_stream(container)))


def _checked(frame: VideoFrame) -> VideoFrame:
    """Not every decoder stops at damage; some paint over it, and what refers to that is not marked any more."""
    if frame.is_corrupt:
        raise _MismatchError(f"the frame at {frame.pts} is damaged")
    return frame


def rotation_of(path: str) -> int:
    """Degrees clockwise, 0, 90, 180 or 270, that turn the decoded frames of `path` upright. Raises MediaError."""
    with library_errors():
        return _rotation(_first_frame(path))


def _rotation(frame: VideoFrame) -> int:
    return 90 * (round(-frame.rotation / 90) % 4)  # PyAV counts counter-clockwise


def _first_frame(path: str) -> VideoFrame:
    with opened(path) as container:
        first = next(_sound(container), None)
    if first is None:
        raise MediaError("has no frame that can be decoded")
    return first


def stream_of(decoder: str, table: FrameTable, first: VideoFrame, errors: int = 0) -> Stream:
    """What rules need to know, of frames that look like `first`."""
    rotation = _rotation(first)
    upright = (first.height, first.width) if rotation % 180 == 0 else (first.width, first.height)
    return Stream(
        decoder=decoder,
        times=table.times(),
        fps=float(table.rate()),
        height=upright[0],
        width=upright[1],
        rotation=rotation,
        errors=errors,
    )


def upright_image(frame: VideoFrame, rotation: int) -> NDArray[np.uint8]:
    """RGB [H, W, 3], turned clockwise by `rotation` degrees."""
    image = np.asarray(frame.to_ndarray(format="rgb24", threads=1), np.uint8)
    return np.ascontiguousarray(np.rot90(image, -rotation // 90)) if rotation else image


def _clip(path: str, spec: VideoSpec, found: tuple[FrameTable, Stream], pick: _Picker) -> VideoClip:
    table, stream = found
    metadata = stream.metadata(spec)
    slots = {index: slot for slot, index in enumerate(metadata.frame_indices)}
    resize = RESIZERS.resolve(spec.resize)
    frames = np.empty((len(slots), 3, metadata.height, metadata.width), np.uint8)
    with opened(path) as container:
        for index, frame in pick(container, table, metadata.frame_indices):
            resize(upright_image(frame, metadata.rotation), frames[slots.pop(index)])
    if slots:
        raise _MismatchError(f"frames {sorted(slots)} were not returned")
    return VideoClip(frames=frames, metadata=metadata)


def _seek(container: InputContainer, table: FrameTable, indices: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    stream = video_stream(container)
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
    stream = video_stream(container)
    for packet in container.demux(stream):
        stream.codec_context.skip_frame = "DEFAULT" if packet.pts in targets else "NONREF"
        yield from map(_checked, packet.decode())


def _sweep(container: InputContainer, table: FrameTable, indices: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    wanted = {table.pts[index]: index for index in indices}
    for frame in _sound(container):
        if frame.pts in wanted:
            yield wanted.pop(frame.pts), frame
        if not wanted:
            return


def _enumerate(
    container: InputContainer, table: FrameTable, indices: Sequence[int]
) -> Iterator[tuple[int, VideoFrame]]:
    wanted = set(indices)
    for index, frame in enumerate(islice(_sound(container), max(wanted) + 1)):
        if index in wanted:
            yield index, frame


def _last_at_or_before(times: Sequence[int], time: int) -> int | None:
    position = bisect_right(times, time)
    return times[position - 1] if position else None
