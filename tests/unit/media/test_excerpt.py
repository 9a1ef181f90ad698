# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""An excerpt is what a file would give that was cut out of the source, frame for frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.videos import VideoRecipe, numbered_video, read_number
from verl.errors import ConfigError, MediaError
from verl.media.decode import decode, probe
from verl.media.source import MediaSource, SourceMode, load
from verl.media.spec import check, source_id

WHOLE = VideoRecipe(num_frames=120, fps=30)


def numbers(clip):
    return tuple(read_number(frame) for frame in clip.frames)


@pytest.mark.parametrize("decoder", ["pyav", "pyav_tolerant", "decord"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_an_excerpt_equals_the_file_cut_out(tmp_path, spec, decoder, name):
    if decoder == "decord":
        pytest.importorskip("decord")
    spec = replace(spec, fps=4, decoder=decoder)
    whole = str(numbered_video(tmp_path / name, WHOLE))
    cut = str(numbered_video(tmp_path / f"cut_{name}", replace(WHOLE, num_frames=45, offset=30)))
    found = decode(whole, replace(spec, start=1.0, end=2.5))
    wanted = decode(cut, spec)
    assert numbers(found) == numbers(wanted)
    assert found.metadata.excerpt_indices == wanted.metadata.frame_indices
    assert found.metadata.frame_indices == numbers(found)
    assert found.metadata.timestamps == pytest.approx(wanted.metadata.timestamps, abs=1e-6)
    same = {name: getattr(wanted.metadata, name) for name in ("total_frames", "duration", "source_fps", "height")}
    assert {name: getattr(found.metadata, name) for name in same} == same
    assert probe(whole, replace(spec, start=1.0, end=2.5)) == found.metadata


def test_an_open_end_reaches_the_last_frame(tmp_path, spec):
    path = str(numbered_video(tmp_path / "a.mp4", WHOLE))
    spec = replace(spec, fps=30, max_frames=200)
    assert decode(path, replace(spec, start=3.5)).metadata.frame_indices[0] == 105
    assert decode(path, replace(spec, start=3.5)).metadata.frame_indices[-1] == 119
    assert decode(path, replace(spec, end=99.0)).metadata == replace(decode(path, spec).metadata)


def test_an_excerpt_is_an_entry_of_its_own_and_whole_videos_keep_theirs(tmp_path, spec):
    path = numbered_video(tmp_path / "a.mp4", WHOLE)
    source = source_id(path)
    keys = {replace(spec, start=s, end=e).cache_key(source) for s, e in ((None, None), (1.0, None), (None, 1.0))}
    assert len(keys) == 3
    cut = replace(spec, start=1.0, end=2.0)
    ref = MediaSource(SourceMode.PREFER_PREPROCESSED, tmp_path / "cache", cut).ref(path)
    again = MediaSource(SourceMode.PREPROCESSED_ONLY, tmp_path / "cache", cut).ref(path)
    assert again.metadata == ref.metadata and ref.metadata.first_frame == 30
    assert np.array_equal(load(again).frames, decode(str(path), cut).frames)


@pytest.mark.parametrize("bounds", [(-1.0, None), (2.0, 2.0), (3.0, 1.0), (None, 0.0)])
def test_bounds_that_hold_nothing_are_refused(spec, bounds):
    with pytest.raises(ConfigError, match="excerpt"):
        check(replace(spec, start=bounds[0], end=bounds[1]))


def test_an_excerpt_behind_the_end_says_where_the_video_ends(tmp_path, spec):
    path = str(numbered_video(tmp_path / "a.mp4", WHOLE))
    with pytest.raises(MediaError, match=r"no frame from 9 to 10 s.*3\.97 s"):
        decode(path, replace(spec, start=9.0, end=10.0))
