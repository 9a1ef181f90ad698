# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Every decoder on every kind of file that is known to mislead one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.videos import read_number
from tests.zoo import ZOO
from verl.errors import MediaError
from verl.media import pyav_decoder
from verl.media.decode import decode, probe
from verl.types import VideoClip, VideoSpec

DENSE = VideoSpec(fps=1000, max_frames=1000, min_pixels=64 * 64, max_pixels=128 * 128, align=32)
SPARSE = replace(DENSE, fps=5)
FEW = replace(DENSE, fps=0.1, max_frames=6)

# What the other decoders make of SPARSE: "wrong" frames without an error, or "refused".
DECORD = dict.fromkeys(
    (
        *("open_groups.mp4", "hevc.mp4", "hevc_10bit.mp4", "hevc_open_groups.mkv", "edit_list.mp4", "uneven.mp4"),
        *("transport.ts", "interlaced.ts", "recorded.ts", "joined.ts", "program.mpg", "mpeg4.avi", "packed.avi"),
    ),
    "wrong",
) | dict.fromkeys(
    ("av1.mp4", "one_frame.webm", "one_frame.ts", "turned_90.mp4", "turned_180.mp4", "turned_270.mkv"), "refused"
)
TORCHCODEC = dict.fromkeys(  # 0.13 with FFmpeg 8
    ("transport.ts", "recorded.ts", "program.mpg", "edit_list.mp4", "uneven.mp4"), "wrong"
) | dict.fromkeys(("interlaced.ts", "joined.ts", "mpeg4.avi", "packed.avi", "one_frame.avi"), "refused")


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """Path of a specimen, made at its first use."""
    folder = tmp_path_factory.mktemp("zoo")

    def specimen(name: str) -> str:
        path = folder / name
        if not path.exists():
            ZOO[name].make(path)
        return str(path)

    return specimen


def wrong(clip: VideoClip, name: str) -> list[tuple[int, int]]:
    """(named, seen) of frames that are not what they are said to be."""
    seen = [read_number(frame) - ZOO[name].first for frame in clip.frames]
    return [pair for pair in zip(clip.metadata.frame_indices, seen, strict=True) if pair[0] != pair[1]]


@pytest.mark.parametrize("name", ZOO)
def test_the_default_decoder_returns_the_frames_it_names(zoo, name):
    path = zoo(name)
    for spec in (DENSE, SPARSE, FEW):
        clip = decode(path, spec)
        assert wrong(clip, name) == []
        assert clip.metadata.total_frames == ZOO[name].total
        assert probe(path, spec) == clip.metadata


@pytest.mark.parametrize("name", ZOO)
def test_the_tolerant_decoder_gives_the_same_for_sound_files(zoo, name):
    strict, tolerant = (decode(zoo(name), replace(SPARSE, decoder=decoder)) for decoder in ("pyav", "pyav_tolerant"))
    assert np.array_equal(strict.frames, tolerant.frames)
    assert replace(tolerant.metadata, decoder="pyav") == strict.metadata


def threads() -> int:
    return sum(1 for _ in Path("/proc/self/task").iterdir())


@pytest.mark.parametrize("name", ["b_frames.mp4", "hevc.mp4", "vp9.webm", "av1.mp4", "mpeg4.avi"])
def test_decoding_starts_no_thread(zoo, name, monkeypatch):
    counted = []
    upright_image = pyav_decoder.upright_image

    def counting(*given):
        counted.append(threads())
        return upright_image(*given)

    decode(zoo(name), FEW)  # whatever the resize starts
    before = threads()
    monkeypatch.setattr(pyav_decoder, "upright_image", counting)
    decode(zoo(name), SPARSE)
    assert set(counted) == {before}


def verdicts(zoo: Callable[[str], str], decoder: str) -> dict[str, str]:
    """What becomes of each specimen; those that come out right are left out."""
    spec, found = replace(SPARSE, decoder=decoder), {}
    for name in ZOO:
        try:
            clip = decode(zoo(name), spec)
        except MediaError as error:
            assert "pyav" in str(error)
            found[name] = "refused"
            continue
        assert probe(zoo(name), spec) == clip.metadata
        if wrong(clip, name) or clip.metadata.total_frames != ZOO[name].total:
            found[name] = "wrong"
    return found


def test_what_decord_gets_wrong_is_known(zoo):
    pytest.importorskip("decord")
    assert verdicts(zoo, "decord") == DECORD


def test_what_torchcodec_gets_wrong_is_known(zoo):
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"torchcodec does not load here: {str(error).partition(chr(10))[0]}")
    assert verdicts(zoo, "torchcodec") == TORCHCODEC
    path = zoo("b_frames.mp4")
    for spec in (DENSE, SPARSE):
        ours, theirs = (decode(path, replace(spec, decoder=decoder)) for decoder in ("pyav", "torchcodec"))
        assert np.array_equal(ours.frames, theirs.frames)
        assert probe(path, replace(spec, decoder="torchcodec")) == theirs.metadata
        assert theirs.metadata.timestamps == pytest.approx(ours.metadata.timestamps, abs=1e-6)


@pytest.mark.parametrize("decoder", ["decord", "torchcodec"])
def test_a_library_that_is_not_there_says_how_to_get_it(zoo, decoder, monkeypatch):
    monkeypatch.setitem(sys.modules, decoder, None)
    monkeypatch.setitem(sys.modules, f"{decoder}.decoders", None)
    with pytest.raises(MediaError, match=rf"pip install '?{decoder}.*pyav"):
        probe(zoo("b_frames.mp4"), replace(SPARSE, decoder=decoder))
