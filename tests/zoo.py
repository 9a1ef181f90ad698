# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Well-formed video files of every kind that is known to mislead a decoder. Each frame carries its number."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet

from tests.videos import VideoRecipe, numbered_video

PLAIN = VideoRecipe()
X265 = "log-level=none:pools=none:frame-threads=1"
VPX = {"cpu-used": "8", "deadline": "good", "auto-alt-ref": "1", "lag-in-frames": "16"}  # with frames never shown
AV1 = {"preset": "12", "svtav1-params": "lp=1"}
MPEG4 = {"b": "2M"}
UNEVEN = tuple(index / 30 + (index // 7) * 0.4 for index in range(60))
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """A file to make, and what is on its frames: `first`, `first + 1`, ... `first + total - 1`."""

    make: Callable[[Path], object]
    total: int = 60
    first: int = 0


def _encoded(recipe: VideoRecipe) -> Specimen:
    return Specimen(make=lambda path: numbered_video(path, recipe), total=recipe.num_frames, first=recipe.offset)


def _x264(**parameters: int) -> dict[str, str]:
    return {"x264-params": ":".join(f"{name.replace('_', '-')}={value}" for name, value in parameters.items())}


def _x265(**parameters: int) -> dict[str, str]:
    given = "".join(f":{name.replace('_', '-')}={value}" for name, value in parameters.items())
    return {"x265-params": X265 + given}


def _rewritten(path: Path, recipe: VideoRecipe, change: Callable[[list[Packet]], list[Packet]]) -> None:
    """Write to `path` what `change` makes of the packets of a numbered video."""
    whole = numbered_video(path.with_name(f"whole_{path.name}"), recipe)
    with av.open(str(whole)) as source, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in change([packet for packet in source.demux(video=0) if packet.size]):
            packet.stream = stream
            target.mux(packet)
    whole.unlink()


def _edited(packets: list[Packet], *, shown_from: int) -> list[Packet]:
    """From the last keyframe before frame `shown_from` on; an edit list hides what comes before that frame."""
    step = packets[0].duration
    start = max(i for i, packet in enumerate(packets) if packet.is_keyframe and packet.pts <= shown_from * step)
    for packet in packets[start:]:
        packet.pts, packet.dts = packet.pts - shown_from * step, packet.dts - shown_from * step
    return packets[start:]


def _joined(path: Path) -> None:
    """Two transport streams one after the other: in the middle time jumps back, not by whole frames."""
    parts = [
        numbered_video(path.with_name(f"{offset}_{path.name}"), VideoRecipe(num_frames=30, offset=offset, times=times))
        for offset, times in ((0, [i / 30 for i in range(30)]), (30, [0.207 + i / 30 for i in range(30)]))
    ]
    path.write_bytes(_continued(b"".join(part.read_bytes() for part in parts)))
    for part in parts:
        part.unlink()


def _continued(stream: bytes) -> bytes:
    """With continuity counters that do not jump, for a jump means that packets were lost."""
    packets = [bytearray(stream[start : start + 188]) for start in range(0, len(stream), 188)]
    count: Counter[bytes] = Counter()
    for packet in packets:
        channel = bytes((packet[1] & 0x1F, packet[2]))
        packet[3] = (packet[3] & 0xF0) | (count[channel] % 16)
        count[channel] += packet[3] >> 4 & 1  # it carries something
    return b"".join(packets)


VOP = b"\0\0\1\xb6"  # begins an MPEG-4 frame; the next two bits are its type: 0 key, 1 predicted, 2 B
NOTHING_CODED = VOP + b"\x50\x00\x7f"


def _packed(path: Path) -> None:
    """AVI as DivX 5 wrote it: a predicted frame and the B-frame before it in one chunk, then an empty one."""
    _rewritten(path, replace(PLAIN, codec="mpeg4", b_frames=1, options=MPEG4), _pack)
    signed = re.sub(rb"Lavc[\d.]+", lambda found: b"DivX503b".ljust(len(found[0]) - 1, b"1") + b"p", path.read_bytes())
    path.write_bytes(signed)


def _pack(packets: list[Packet]) -> list[Packet]:
    return [_chunk(data, place) for place, data in enumerate(_chunks([bytes(packet) for packet in packets]))]


def _chunks(frames: list[bytes]) -> Iterator[bytes]:
    while frames:
        frame = frames.pop(0)
        if frames and _type(frames[0]) == 2:
            yield frame + frames.pop(0)
            yield NOTHING_CODED
        else:
            yield frame


def _chunk(data: bytes, place: int) -> Packet:
    packet = Packet(data)
    packet.pts = packet.dts = place
    packet.time_base = Fraction(1, PLAIN.fps)
    packet.is_keyframe = _type(data) == 0
    return packet


def _type(frame: bytes) -> int:
    return frame[frame.index(VOP) + len(VOP)] >> 6


ENCODED = {
    "b_frames.mp4": replace(PLAIN, b_frames=3),
    "one_group.mp4": replace(PLAIN, num_frames=150, gop=250, b_frames=3, options=_x264(scenecut=0)),
    "short_groups.mp4": replace(PLAIN, num_frames=150, gop=5, b_frames=1),
    "no_b_frames.mkv": replace(PLAIN, b_frames=0),
    "open_groups.mp4": replace(PLAIN, options=_x264(open_gop=1, bframes=3, b_pyramid=2, scenecut=0)),
    "hevc.mp4": replace(PLAIN, codec="libx265", options=_x265(bframes=3, scenecut=0)),
    "hevc_10bit.mp4": replace(PLAIN, codec="libx265", pixel_format="yuv420p10le", options=_x265(bframes=4)),
    "hevc_open_groups.mkv": replace(
        PLAIN, codec="libx265", options=_x265(open_gop=1, bframes=3, scenecut=0, keyint=12)
    ),
    "transport.ts": PLAIN,
    "mpeg4.avi": replace(PLAIN, codec="mpeg4", options=MPEG4),
    "program.mpg": replace(PLAIN, codec="mpeg2video", options=MPEG4),
    "uneven.mp4": replace(PLAIN, times=UNEVEN),
    "uneven.mkv": replace(PLAIN, times=UNEVEN),
    "late.mp4": replace(PLAIN, times=[2 + index / 30 for index in range(60)]),
    "fragmented.mp4": replace(PLAIN, b_frames=3, container=FRAGMENTED),
    "av1.mp4": replace(PLAIN, codec="libsvtav1", b_frames=0, options=AV1),
    "vp8.webm": replace(PLAIN, codec="libvpx", b_frames=0, options=VPX | {"b": "500k"}),
    "vp9.webm": replace(PLAIN, codec="libvpx-vp9", b_frames=0, options=VPX),
    "turned_90.mp4": replace(PLAIN, rotation=90),
    "turned_180.mp4": replace(PLAIN, rotation=180),
    "turned_270.mkv": replace(PLAIN, rotation=270, width=64, height=96),
    "interlaced.mp4": replace(PLAIN, options=_x264(tff=1)),
    "interlaced.ts": replace(PLAIN, codec="mpeg2video", options=MPEG4 | {"flags": "+ilme+ildct"}),
    "odd_size.mp4": replace(PLAIN, width=97, height=73),
    "odd_size.webm": replace(PLAIN, width=97, height=73, codec="libvpx-vp9", b_frames=0, pixel_format="yuv420p"),
    "portrait.mp4": replace(PLAIN, width=64, height=128),
    "strip.mp4": replace(PLAIN, width=640, height=36),
    "one_per_second.mp4": replace(PLAIN, num_frames=20, fps=1),
    "sixty_per_second.mkv": replace(PLAIN, num_frames=120, fps=60),
    "three_frames.mp4": replace(PLAIN, num_frames=3),
    "two_frames.mp4": replace(PLAIN, num_frames=2),
    "one_frame.mp4": replace(PLAIN, num_frames=1),
    "one_frame.webm": replace(PLAIN, num_frames=1, codec="libvpx-vp9", b_frames=0),
    "one_frame.avi": replace(PLAIN, num_frames=1, codec="mpeg4", options=MPEG4),
    "one_frame.ts": replace(PLAIN, num_frames=1),
}
CLOSED = replace(PLAIN, options=_x264(scenecut=0))  # keyframes at 0, 12, 24, 36, 48
ZOO: dict[str, Specimen] = {name: _encoded(recipe) for name, recipe in ENCODED.items()} | {
    "edit_list.mp4": Specimen(
        make=lambda path: _rewritten(path, CLOSED, lambda packets: _edited(packets, shown_from=17)), total=43, first=17
    ),
    "edit_list_at_key.mp4": Specimen(
        make=lambda path: _rewritten(path, CLOSED, lambda packets: _edited(packets, shown_from=24)), total=36, first=24
    ),
    "recorded.ts": Specimen(
        make=lambda path: _rewritten(path, CLOSED, lambda packets: packets[5:]), total=48, first=12
    ),
    "joined.ts": Specimen(make=_joined),
    "packed.avi": Specimen(make=_packed),
}
