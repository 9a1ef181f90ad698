# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Damaged files: refused by default; on request, every frame that is returned is sound."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.videos import VideoRecipe, numbered_video, read_number
from verl.errors import MediaError
from verl.media.cutoff import missing_bytes
from verl.media.decode import decode, probe
from verl.media.spec import source_id
from verl.types import VideoSpec

STRICT = VideoSpec(fps=1000, max_frames=1000, min_pixels=64 * 64, max_pixels=128 * 128, align=32)
TOLERANT = replace(STRICT, decoder="pyav_tolerant")
LONG = VideoRecipe(num_frames=90, width=192, height=144)
MPEG4 = replace(LONG, codec="mpeg4", options={"b": "2M"})


def noise(data: bytes) -> bytes:
    start = len(data) // 3
    return data[:start] + random.Random(0).randbytes(400) + data[start + 400 :]


def flipped(data: bytes) -> bytes:
    start = len(data) // 3
    return data[:start] + bytes([data[start] ^ 16]) + data[start + 1 :]


def smudged(data: bytes, percent: int = 40) -> bytes:
    start = len(data) * percent // 100
    return data[:start] + random.Random(1).randbytes(60) + data[start + 60 :]


def painted_over(data: bytes) -> bytes:
    """The library hides this one, and marks the frame."""
    return smudged(data, 53)


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("name", "recipe", "damage"),
    [
        ("a.mp4", LONG, noise),
        ("a.mp4", LONG, flipped),
        ("a.mkv", LONG, noise),
        ("a.mkv", LONG, half),
        ("a.ts", LONG, noise),
        ("a.avi", MPEG4, half),
        ("a.avi", MPEG4, smudged),
        ("a.avi", MPEG4, painted_over),
        ("mpeg4.mkv", MPEG4, smudged),
        ("front.mp4", replace(LONG, container={"movflags": "faststart"}), half),
        ("fragmented.mp4", replace(LONG, container={"movflags": "frag_keyframe+empty_moov"}), half),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_damage_is_refused_or_left_out_and_counted(tmp_path, name, recipe, damage):
    path = numbered_video(tmp_path / name, recipe)
    sound = decode(str(path), STRICT).frames
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(MediaError, match=f"{name}: .*(damaged|incomplete)"):
        decode(str(path), STRICT)
    clip = decode(str(path), TOLERANT)
    numbers = [read_number(frame) for frame in clip.frames]
    assert 5 <= clip.metadata.total_frames < len(sound)
    assert clip.metadata.decode_errors >= 1
    assert all(before < after for before, after in pairwise(numbers))
    assert np.array_equal(clip.frames, sound[numbers])
    assert probe(str(path), TOLERANT) == clip.metadata


def test_tolerance_is_part_of_the_key(tmp_path):
    source = source_id(numbered_video(tmp_path / "a.mp4"))
    assert STRICT.cache_key(source) != TOLERANT.cache_key(source)


@pytest.mark.parametrize("content", ["empty", "a page", "without its index"])
def test_what_is_no_video_is_refused_by_all(tmp_path, content):
    path = numbered_video(tmp_path / "a.mp4", LONG)
    cut = half(path.read_bytes())  # the index of an MP4 is at its end
    path.write_bytes({"empty": b"", "a page": b"<html>not found</html>" * 50, "without its index": cut}[content])
    for spec in (STRICT, TOLERANT):
        with pytest.raises(MediaError, match=r"a\.mp4: .*not a video"):
            decode(str(path), spec)


def test_files_that_were_cut_know_it(tmp_path):
    for name, recipe in (("a.mp4", LONG), ("a.mkv", LONG), ("a.avi", MPEG4)):
        path = numbered_video(tmp_path / name, recipe)
        data = path.read_bytes()
        assert missing_bytes(str(path)) == 0
        path.write_bytes(data[:-1])
        assert missing_bytes(str(path)) == 1, name
        path.write_bytes(data + b"appended")
        assert missing_bytes(str(path)) == 0


def test_no_header_makes_the_check_for_cut_files_fail(tmp_path):
    path = tmp_path / "a"
    rng = random.Random(0)
    starts = (b"", b"\x1a\x45\xdf\xa3", b"RIFF", bytes(4) + b"ftyp", b"\0\0\0\1mdat", b"\0\0\0\x08free" * 3)
    for start in starts:
        for length in (0, 1, 3, 8, 40):
            path.write_bytes(start + rng.randbytes(length))
            assert missing_bytes(str(path)) >= 0
