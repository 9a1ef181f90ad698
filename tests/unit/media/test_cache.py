# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.videos import VideoRecipe, numbered_video
from verl.errors import MediaError
from verl.media import cache as caching
from verl.media.cache import ClipCache
from verl.media.decode import decode
from verl.media.entry import PAGE, read_header, verify
from verl.media.spec import source_id


@pytest.fixture
def cache(tmp_path):
    return ClipCache(tmp_path / "cache")


@pytest.fixture
def written(cache, video, spec):
    source = source_id(video)
    clip = decode(str(video), spec)
    return cache.write(spec.cache_key(source), clip, spec, source), clip


def test_a_clip_comes_back_as_it_went_in(cache, written, spec):
    path, clip = written
    again = cache.load(path, spec)
    assert np.array_equal(again.frames, clip.frames)
    assert again.metadata == clip.metadata
    assert cache.read_metadata(path) == (spec, clip.metadata)
    assert cache.find(path.stem) == path == cache.root / path.stem[:2] / f"{path.stem}.safetensors"


def test_frames_are_mapped_and_writing_to_them_leaves_the_entry_alone(cache, written):
    path, _ = written
    frames = cache.load(path).frames
    base = frames
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)
    before = path.read_bytes()
    frames[:] = 7
    assert path.read_bytes() == before


def test_the_entry_is_a_safetensors_file_with_page_aligned_pixels(written):
    path, clip = written
    assert np.array_equal(load_file(path)["frames"], clip.frames)
    offset = read_header(path).offset
    assert offset % PAGE == 0
    assert path.read_bytes()[offset:] == clip.frames.tobytes()


def test_equal_clips_make_equal_files(cache, written, video, spec):
    path, clip = written
    before = path.read_bytes()
    assert cache.write(path.stem, clip, spec, source_id(video)).read_bytes() == before


def test_an_interrupted_write_leaves_no_entry(cache, video, spec, monkeypatch):
    source = source_id(video)
    key = spec.cache_key(source)

    def power_cut(descriptor):
        raise OSError("no power")

    monkeypatch.setattr(os, "fsync", power_cut)
    with pytest.raises(OSError, match="no power"):
        cache.write(key, decode(str(video), spec), spec, source)
    assert cache.find(key) is None
    assert list(cache.entry_path(key).parent.iterdir()) == []


def test_an_unfinished_file_is_not_an_entry(cache, written):
    path, _ = written
    path.rename(path.with_name(f".{path.stem}.host.1.tmp"))
    assert cache.find(path.stem) is None


@pytest.mark.parametrize("keep", [0, 5, 3000, PAGE, -1])
def test_a_truncated_entry_is_refused_by_name(cache, written, keep):
    path, _ = written
    path.write_bytes(path.read_bytes()[:keep])
    for read in (cache.load, cache.read_metadata, verify):
        with pytest.raises(MediaError, match=rf"{path.name}.*delete it, or run scripts/preprocess_videos.py again"):
            read(path)


def test_verify_notices_one_flipped_bit(written):
    path, _ = written
    verify(path)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    read_header(path)
    with pytest.raises(MediaError, match="checksum"):
        verify(path)


def test_an_entry_of_another_spec_is_refused_with_the_command_that_builds_the_right_one(cache, written, spec):
    path, _ = written
    wanted = replace(spec, fps=1.5, total_pixels=100_000)
    with pytest.raises(MediaError, match=r"--video_fps 1\.5 .*--video_total_pixels 100000"):
        cache.load(path, wanted)


def test_a_file_of_another_format_is_refused(cache, written):
    path, _ = written
    path.write_bytes(path.read_bytes().replace(b"verl-clip", b"else-clip"))
    with pytest.raises(MediaError, match="else-clip"):
        cache.load(path)


def test_a_key_of_another_clip_is_refused(cache, video, spec):
    with pytest.raises(ValueError, match="does not belong"):
        cache.write("0" * 32, decode(str(video), spec), spec, source_id(video))


def test_a_source_replaced_under_its_name_has_no_entry(cache, written, video, spec):
    numbered_video(video, VideoRecipe(num_frames=61, offset=100))
    assert cache.find(spec.cache_key(source_id(video))) is None


def test_a_failure_is_remembered_until_tools_change_or_the_clip_is_written(cache, video, spec, monkeypatch):
    source = source_id(video)
    key = spec.cache_key(source)
    assert cache.failure(key) is None
    cache.record_failure(key, source, "it is broken")
    assert cache.failure(key) == "it is broken"
    record = json.loads((cache.root / key[:2] / f"{key}.fail.json").read_text())
    assert {"path": str(video), "reason": "it is broken"}.items() <= record.items()
    assert {"av", "torchvision", "verl"} <= record["tools"].keys()
    assert "time" in record
    with monkeypatch.context() as changed:
        changed.setattr(caching, "tool_versions", lambda: {"av": "99"})
        assert cache.failure(key) is None
    cache.write(key, decode(str(video), spec), spec, source)
    assert cache.failure(key) is None


def test_without_a_root_nothing_is_found_or_written(video, spec):
    cache = ClipCache(None)
    source = source_id(video)
    key = spec.cache_key(source)
    assert cache.find(key) is None
    assert cache.failure(key) is None
    with pytest.raises(MediaError, match="no cache directory"):
        cache.write(key, decode(str(video), spec), spec, source)
