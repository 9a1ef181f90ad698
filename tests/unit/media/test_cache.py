# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import errno
import json
import os
import stat
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.unit.media.clips import SPEC, make_clip, source_of, stored
from tests.videos import VideoRecipe, numbered_video
from verl.errors import ConfigError, MediaError
from verl.media import cache as caching
from verl.media import codec, storage
from verl.media.cache import ClipCache, Kind
from verl.media.decode import decode
from verl.media.entry import PAGE, EntryMissing, publish, read_header, verify
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
    assert storage.is_mapped(frames)
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


@pytest.mark.parametrize(("number", "is_refusal"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_a_file_system_may_refuse_to_sync_a_directory(tmp_path, monkeypatch, number, is_refusal):
    sync = os.fsync

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    with nullcontext() if is_refusal else pytest.raises(OSError, match=os.strerror(number)):
        publish(tmp_path / "ab" / "entry", b"whole")
    assert (tmp_path / "ab" / "entry").read_bytes() == b"whole"


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


def test_a_file_of_another_format_is_refused(cache, written, tmp_path):
    path, clip = written
    path.write_bytes(path.read_bytes().replace(b"verl-clip", b"else-clip"))
    with pytest.raises(MediaError, match="else-clip"):
        cache.load(path)
    save_file({"frames": clip.frames}, path)
    with pytest.raises(MediaError, match="not a whole cache entry"):
        cache.load(path)


def test_no_number_of_the_header_can_change_unseen(cache, written):
    path, _ = written
    data = path.read_bytes()
    place = data.index(b"timestamps")
    digit = next(i for i in range(place, place + 100) if data[i : i + 1] in b"123456789")
    path.write_bytes(data[:digit] + b"0" + data[digit + 1 :])
    with pytest.raises(MediaError, match="its header has changed"):
        cache.load(path)


def test_an_entry_under_another_name_than_its_own_is_read_but_not_found(cache, written, spec):
    path, _ = written
    key = "0" * 32
    cache.entry_path(key).parent.mkdir()
    path.rename(cache.entry_path(key))
    assert cache.find(path.stem) is None
    with pytest.raises(EntryMissing):
        cache.load(path)


def test_a_network_file_system_is_read_and_a_local_one_mapped(cache, written, monkeypatch):
    path, clip = written
    assert storage.is_mapped(cache.load(path).frames)
    monkeypatch.setattr(storage, "on_network", lambda descriptor: True)
    monkeypatch.setattr(storage, "READ_BYTES", 1000)
    frames = cache.load(path).frames
    assert not storage.is_mapped(frames)
    assert np.array_equal(frames, clip.frames)
    frames[:] = 0
    assert np.array_equal(cache.load(path).frames, clip.frames)


@pytest.mark.parametrize(("kind", "network"), [(0x6969, True), (0x0BD00BD0, True), (0xEF53, False), (None, True)])
def test_the_file_system_is_told_by_its_magic_number(monkeypatch, tmp_path, kind, network):
    monkeypatch.setattr(storage, "_KNOWN", {})
    monkeypatch.setattr(storage, "_file_system", lambda descriptor: kind)
    with (tmp_path / "file").open("wb") as file:
        assert storage.on_network(file.fileno()) is network


def test_the_magic_number_of_proc_is_known():
    with Path("/proc/self/stat").open("rb") as file:
        assert storage._file_system(file.fileno()) == 0x9FA0


def test_a_file_that_ends_while_it_is_read_is_an_error(tmp_path):
    (tmp_path / "short").write_bytes(b"12345")
    with (tmp_path / "short").open("rb", buffering=0) as file, pytest.raises(EOFError):
        storage.read(file, 6)


def test_a_read_only_cache_is_read(cache, written):
    path, clip = written
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        frames = cache.load(path).frames
        frames[0] = 0
        assert np.array_equal(cache.load(path).frames, clip.frames)
    finally:
        path.parent.chmod(0o755)


@pytest.mark.parametrize("name", sorted(codec.CODECS))
def test_packed_entries_come_back_as_the_codec_promises(tmp_path, name):
    clip = make_clip(frames=5, height=64, width=96)
    lossy = name if codec.CODECS[name].lossy else None
    cache = ClipCache(tmp_path, codec.RAW if lossy else name)
    path = stored(cache, clip=clip, spec=replace(SPEC, lossy=lossy))
    header, again = read_header(path), cache.load(path)
    assert header.codec == name
    assert len(header.blocks) == 5
    assert path.stat().st_size < clip.frames.nbytes
    assert again.metadata == clip.metadata
    assert np.array_equal(again.frames, codec.as_stored(clip, lossy).frames)
    assert np.array_equal(again.frames, clip.frames) is (lossy is None)
    difference = np.abs(again.frames.astype(int) - clip.frames)
    assert difference.mean() < 4
    assert load_file(path)["packed"].nbytes == header.payload_bytes
    verify(path)


def test_lossy_pixels_have_a_key_of_their_own_and_lossless_packing_has_not(tmp_path):
    raw = stored(ClipCache(tmp_path / "raw"))
    packed = stored(ClipCache(tmp_path / "packed", "zrow"))
    lossy = stored(ClipCache(tmp_path / "raw"), spec=replace(SPEC, lossy="jpeg95-444"))
    assert raw.name == packed.name != lossy.name


def test_a_codec_is_lossy_by_name_only(tmp_path):
    for asked in ("jpeg95-444", "zro"):
        with pytest.raises(ConfigError, match=r"changes pixels|did you mean 'zrow'"):
            ClipCache(tmp_path, asked)
    for lossy in ("zrow", "jpeg95"):
        with pytest.raises(ConfigError, match=r"loses nothing|did you mean 'jpeg95"):
            codec.check_storage(codec.RAW, lossy)


def test_recoding_changes_the_bytes_and_neither_pixels_nor_provenance(tmp_path):
    clip, source = make_clip(), source_of("/videos/a.mp4")
    path = ClipCache(tmp_path).write(SPEC.cache_key(source), clip, SPEC, source, origin="elsewhere")
    raw = path.read_bytes()
    assert ClipCache(tmp_path, "zrow").recode(path).codec == "zrow"
    assert path.stat().st_size < len(raw)
    assert np.array_equal(ClipCache.load(path, SPEC).frames, clip.frames)
    ClipCache(tmp_path).recode(path)
    assert path.read_bytes() == raw
    assert read_header(path).tools["origin"] == "elsewhere"


def test_members_are_the_files_of_a_cache_and_no_others(cache, written, video, spec, tmp_path):
    path, _ = written
    folder = path.parent
    cache.record_failure(path.stem, source_id(video), "no")
    unfinished = folder / f".{path.stem}.host.with.dots.12.0123abcd.tmp"
    unfinished.touch()
    strangers = ["notes.txt", "a.safetensors", f"{path.stem}.mp4", f"{'0' * 32}.safetensors", f".{path.stem}.tmp"]
    for name in strangers:
        (folder / name).touch()
    (cache.root / path.name).touch()
    (folder / f"{folder.name}{'1' * 30}.safetensors").symlink_to(video)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / f"{'f' * 32}.safetensors").touch()
    (cache.root / "ff").symlink_to(tmp_path / "elsewhere")
    found = {one.path: one.kind for one in cache.members()}
    failed = folder / f"{path.stem}.fail.json"
    assert found == {path: Kind.ENTRY, failed: Kind.FAILURE, unfinished: Kind.UNFINISHED}


def test_a_damaged_failure_record_lets_the_video_be_tried_again(cache, video, spec):
    source = source_id(video)
    key = spec.cache_key(source)
    cache.record_failure(key, source, "no")
    (cache.root / key[:2] / f"{key}.fail.json").write_bytes(b"{")
    assert cache.failure(key) is None


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
