# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of frames is a video: which frames, at which times, under which key, and what is refused."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.videos import VideoRecipe, numbered_video, read_number, write_numbered_frames
from verl.errors import ConfigError, MediaError
from verl.media.decode import decode, probe
from verl.media.source import MediaSource, SourceMode, load
from verl.media.spec import check, source_id


@pytest.fixture
def spec(spec):
    return replace(spec, folder_fps=3.0, fps=1.0, max_frames=8)


@pytest.fixture
def folder(tmp_path):
    """Frames 1 to 60, as 20 seconds of TVQA."""
    return write_numbered_frames(tmp_path / "episode", range(1, 61))


def numbers(clip):
    return [read_number(frame) for frame in clip.frames]


@pytest.mark.parametrize("sampler", ["qwen_utils", "hf_qwen3", "hf_qwen2"])
@pytest.mark.parametrize("bounds", [(None, None), (4.0, 12.0), (None, 7.5), (11.0, 99.0)])
def test_chosen_frames_and_times_are_those_of_a_file_with_these_frames(tmp_path, spec, folder, sampler, bounds):
    spec = replace(spec, sampler=sampler, start=bounds[0], end=bounds[1])
    file = numbered_video(tmp_path / "same.mp4", VideoRecipe(num_frames=60, fps=3, offset=1))
    found, wanted = decode(str(folder), spec), decode(str(file), replace(spec, folder_fps=None))
    assert numbers(found) == numbers(wanted) == [index + 1 for index in found.metadata.frame_indices]
    assert found.metadata == replace(wanted.metadata, decoder="frames", timestamps=found.metadata.timestamps)
    assert found.metadata.timestamps == pytest.approx(wanted.metadata.timestamps, abs=1e-6)
    assert probe(str(folder), spec) == found.metadata


def test_frames_are_ordered_by_number_and_turned_upright(tmp_path, spec):
    folder = write_numbered_frames(tmp_path / "a", range(12), name="shot_{}.PNG")
    (folder / "notes.txt").write_text("no frame")
    (folder / "._shot_3.png").write_bytes(b"no frame either")
    assert numbers(decode(str(folder), replace(spec, fps=3.0, max_frames=12))) == list(range(12))
    turned = tmp_path / "turned"
    turned.mkdir()
    for file in folder.glob("shot*"):
        exif = Image.Exif()
        exif[274] = 6
        with Image.open(file) as image:
            image.rotate(90, expand=True).save(turned / f"{file.stem}.jpg", quality=95, exif=exif)
    clip = decode(str(turned), replace(spec, fps=3.0, max_frames=12))
    assert numbers(clip) == list(range(12)) and clip.metadata.source_width == 96


def test_any_change_of_a_frame_is_another_source_and_moving_links_is_none(tmp_path, spec, folder):
    first = source_id(folder)
    (tmp_path / "link").symlink_to(folder)
    assert source_id(tmp_path / "link") == first == source_id(folder)
    keys = {spec.cache_key(first), replace(spec, folder_fps=4.0).cache_key(first)}
    middle = folder / "00030.jpg"
    then = middle.stat().st_mtime_ns
    os.utime(middle, ns=(then, then - 5))  # older: neither the latest time nor the sum of sizes changes
    keys.add(spec.cache_key(source_id(folder)))
    middle.rename(folder / "00061.jpg")
    keys.add(spec.cache_key(source_id(folder)))
    (folder / "00061.jpg").unlink()
    keys.add(spec.cache_key(source_id(folder)))
    assert len(keys) == 5


def test_a_folder_goes_through_the_cache_and_what_changes_is_refused(tmp_path, spec, folder):
    for each in (spec, replace(spec, start=5.0, end=9.0)):
        made = MediaSource(SourceMode.PREFER_PREPROCESSED, tmp_path / "cache", each).ref(folder)
        ref = MediaSource(SourceMode.PREPROCESSED_ONLY, tmp_path / "cache", each).ref(folder)
        assert ref.entry == made.entry and np.array_equal(load(ref).frames, decode(str(folder), each).frames)
    live = MediaSource(SourceMode.REALTIME_ONLY, None, spec).ref(folder)
    (folder / "00060.jpg").unlink()
    with pytest.raises(MediaError, match="has changed since"):
        load(live)


def break_frame(folder):
    file = folder / "00001.jpg"
    file.write_bytes(file.read_bytes()[:-300])


def odd_frame(folder):
    Image.new("RGB", (64, 64)).save(folder / "00060.jpg")


def unnumbered(folder):
    (folder / "00007.jpg").rename(folder / "seven.jpg")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "00007.jpg").unlink(), "1 of its frames 1 to 60 are missing, .* is 7$"),
        (break_frame, r"episode: 00001.jpg: cannot be read as an image: "),
        (lambda folder: (folder / "00060.jpg").write_bytes(b""), "00060.jpg: cannot be read as an image"),
        (odd_frame, "frame 00060.jpg is 64x64, the first one is 72x96"),
        (unnumbered, "seven.jpg has no number"),
        (lambda folder: (folder / "00007.png").write_bytes(b"x"), "00007.jpg and 00007.png are both frame 7"),
        (lambda folder: (folder / "b00061.jpg").write_bytes(b"x"), "frames of several videos"),
        (lambda folder: [file.unlink() for file in folder.iterdir()], "no frame is in it"),
        (lambda folder: (folder / "00061.jpg").symlink_to("gone"), "00061.jpg"),
    ],
)
def test_what_is_missing_or_broken_is_an_error_that_names_it(spec, folder, harm, message):
    harm(folder)
    with pytest.raises(MediaError, match=message) as caught:
        decode(str(folder), spec)
        source_id(folder)
    assert str(caught.value).count(str(folder)) == 1


def test_a_rate_has_to_be_told_and_to_be_one(spec, folder):
    for read in (probe, decode):
        with pytest.raises(MediaError, match="tells no frame rate; set folder_fps"):
            read(str(folder), replace(spec, folder_fps=None))
    with pytest.raises(ConfigError, match="folder_fps"):
        check(replace(spec, folder_fps=0.0))
