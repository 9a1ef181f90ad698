# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.videos import VideoRecipe, numbered_video, read_number
from verl.errors import ConfigError, MediaError
from verl.media import decode, entry, storage
from verl.media import source as source_module
from verl.media.ahead import ReadAhead
from verl.media.cache import ClipCache
from verl.media.entry import verify
from verl.media.source import ClipReader, MediaSource, SourceMode, load

PREFER, ONLY, REALTIME = SourceMode.PREFER_PREPROCESSED, SourceMode.PREPROCESSED_ONLY, SourceMode.REALTIME_ONLY


@pytest.fixture
def decoded(monkeypatch):
    """Paths that were decoded, in order."""
    calls = []
    original = decode.decode
    monkeypatch.setattr(decode, "decode", lambda path, spec: (calls.append(path), original(path, spec))[1])
    return calls


def test_prefer_decodes_once_and_keeps_the_result(tmp_path, video, spec, decoded):
    source = MediaSource(PREFER, tmp_path / "cache", spec)
    first, second = source.ref(video), source.ref(str(video))
    assert first == second
    assert decoded == [str(video)]
    assert first.entry is not None
    clip = load(first)
    assert decoded == [str(video)]
    assert tuple(map(read_number, clip.frames)) == first.metadata.frame_indices


def test_prefer_without_a_cache_decodes_at_each_use(video, spec, decoded):
    ref = MediaSource(PREFER, None, spec).ref(video)
    assert (ref.entry, decoded) == (None, [])
    assert load(ref).metadata == ref.metadata
    assert decoded == [str(video)]


def test_only_refuses_what_is_missing_with_the_command_and_takes_what_is_there(tmp_path, video, spec, decoded):
    source = MediaSource(ONLY, tmp_path / "cache", spec)
    with pytest.raises(MediaError, match=rf"numbered.mp4 .*python scripts/preprocess_videos.py .*{tmp_path}/cache"):
        source.ref(video)
    assert decoded == []
    made = MediaSource(PREFER, tmp_path / "cache", spec).ref(video)
    assert source.ref(video) == replace(made, required=True)
    with pytest.raises(MediaError, match="--video_fps 9"):
        MediaSource(ONLY, tmp_path / "cache", replace(spec, fps=9)).ref(video)


def test_only_without_a_cache_is_refused(spec):
    with pytest.raises(ConfigError, match="preprocessed_only"):
        MediaSource(ONLY, None, spec)


def test_realtime_never_touches_the_cache(tmp_path, video, spec):
    MediaSource(PREFER, tmp_path / "cache", spec).ref(video)
    ref = MediaSource(REALTIME, tmp_path / "cache", spec).ref(video)
    assert ref.entry is None
    empty = tmp_path / "empty"
    MediaSource(REALTIME, empty, spec).ref(video)
    assert not empty.exists()


def test_all_modes_give_the_same_clip(tmp_path, video, spec):
    cached = MediaSource(PREFER, tmp_path / "cache", spec).ref(video)
    live = MediaSource(REALTIME, None, spec).ref(video)
    assert (cached.key, cached.metadata) == (live.key, live.metadata)
    assert np.array_equal(load(cached).frames, load(live).frames)


def test_a_replaced_source_is_decoded_again_and_the_old_entry_stays_what_it_was(tmp_path, video, spec):
    source = MediaSource(PREFER, tmp_path / "cache", spec)
    old = source.ref(video)
    numbered_video(video, VideoRecipe(num_frames=70, offset=100))
    new = source.ref(video)
    assert new.key != old.key
    assert read_number(load(new).frames[0]) == 100
    assert read_number(load(old).frames[0]) == 0


def test_an_entry_that_disappears_is_decoded_once_and_written_again(tmp_path, video, spec, decoded):
    ref = MediaSource(PREFER, tmp_path / "cache", spec).ref(video)
    before = Path(ref.entry).read_bytes()
    Path(ref.entry).unlink()
    assert load(ref).metadata == ref.metadata
    assert Path(ref.entry).read_bytes() == before
    load(ref)
    assert decoded == [str(video)] * 2


def test_an_entry_that_disappears_is_not_replaced_by_another_video(tmp_path, video, spec):
    ref = MediaSource(PREFER, tmp_path / "cache", spec).ref(video)
    Path(ref.entry).unlink()
    numbered_video(video, VideoRecipe(num_frames=70))
    with pytest.raises(MediaError, match="has changed"):
        load(ref)


def test_an_entry_that_disappears_is_an_error_where_only_entries_are_allowed(tmp_path, video, spec, decoded):
    MediaSource(PREFER, tmp_path / "cache", spec).ref(video)
    ref = MediaSource(ONLY, tmp_path / "cache", spec).ref(video)
    Path(ref.entry).unlink()
    with pytest.raises(MediaError, match=r"numbered.mp4: .*has disappeared; run: python scripts/preprocess_videos"):
        load(ref)
    assert decoded == [str(video)]


def test_an_entry_that_is_removed_during_the_look_up_is_decoded_again(tmp_path, video, spec, monkeypatch):
    source = MediaSource(PREFER, tmp_path / "cache", spec)
    first = source.ref(video)
    original = ClipCache.find
    monkeypatch.setattr(ClipCache, "find", lambda self, key: (original(self, key), Path(first.entry).unlink())[0])
    assert source.ref(video) == first
    assert Path(first.entry).is_file()


def test_a_cache_that_cannot_be_written_to_is_told_once(tmp_path, video, spec, monkeypatch, caplog):
    def read_only(*parts):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(entry, "publish", read_only)
    source = MediaSource(PREFER, tmp_path / "cache", spec)
    ref = source.ref(video)
    assert ref.entry is None
    assert tuple(map(read_number, load(ref).frames)) == ref.metadata.frame_indices
    assert source.ref(video) == ref
    assert [record.message for record in caplog.records] == [
        f"cache {tmp_path}/cache cannot be written to (Read-only file system): what it lacks is decoded at each use"
    ]


def test_a_damaged_entry_is_refused_and_not_decoded_over(tmp_path, video, spec):
    ref = MediaSource(PREFER, tmp_path / "cache", spec).ref(video)
    Path(ref.entry).write_bytes(Path(ref.entry).read_bytes()[:-1])
    with pytest.raises(MediaError, match="not a whole cache entry"):
        load(ref)


def test_lossy_pixels_are_the_same_from_an_entry_and_decoded(tmp_path, video, spec):
    lossy = replace(spec, lossy="jpeg95-444")
    cached = load(MediaSource(PREFER, tmp_path / "cache", lossy).ref(video))
    live = load(MediaSource(REALTIME, None, lossy).ref(video))
    exact = load(MediaSource(REALTIME, None, spec).ref(video))
    assert np.array_equal(cached.frames, live.frames)
    assert not np.array_equal(exact.frames, live.frames)


def test_metadata_other_than_promised_is_refused(video, spec):
    ref = MediaSource(REALTIME, None, spec).ref(video)
    promised = replace(ref.metadata, frame_indices=(0, *ref.metadata.frame_indices[2:], 59))
    with pytest.raises(MediaError, match="other frames"):
        load(replace(ref, metadata=promised))


def test_a_video_that_failed_is_not_decoded_again(tmp_path, spec, decoded):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"nothing to see")
    source = MediaSource(PREFER, tmp_path / "cache", spec)
    with pytest.raises(MediaError, match=r"broken.mp4: .*damaged"):
        source.ref(path)
    with pytest.raises(MediaError, match=r"broken.mp4: .*damaged.*--retry_failed"):
        source.ref(path)
    assert decoded == [str(path)]


def test_threads_that_race_for_one_video_agree(tmp_path, video, spec):
    source = MediaSource(PREFER, tmp_path / "cache", spec)
    with ThreadPoolExecutor(4) as pool:
        refs = list(pool.map(source.ref, [video] * 8))
    assert all(ref == refs[0] for ref in refs)
    (entry,) = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert verify(entry).metadata == refs[0].metadata


def test_a_reference_to_a_cached_clip_needs_no_torch_and_no_decoder(tmp_path, video, spec):
    MediaSource(PREFER, tmp_path, spec).ref(video)
    program = (
        "import sys; from verl.types import VideoSpec; from verl.media.source import MediaSource, SourceMode; "
        f"ref = MediaSource(SourceMode.PREPROCESSED_ONLY, {str(tmp_path)!r}, {spec!r}).ref({str(video)!r}); "
        "assert ref.entry; print(sorted({'torch', 'av', 'decord', 'torchvision'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_video_is_named(tmp_path, spec):
    with pytest.raises(MediaError, match=r"missing\.mp4"):
        MediaSource(PREFER, tmp_path / "cache", spec).ref(tmp_path / "missing.mp4")


def test_a_reader_opens_each_clip_once_per_step(tmp_path, spec):
    source = MediaSource(PREFER, tmp_path / "cache", spec)
    refs = [source.ref(numbered_video(tmp_path / f"{i}.mp4", VideoRecipe(num_frames=8, offset=i))) for i in range(2)]
    reader = ClipReader()
    for _ in range(3):
        for ref in refs:
            assert reader.load(ref).metadata == ref.metadata
    assert (reader.opens, reader.distinct) == (2, 2)
    reader.clear()
    assert (reader.opens, reader.distinct) == (0, 0)
    reader.load(refs[0])
    assert (reader.opens, reader.distinct) == (1, 1)


@pytest.fixture
def refs(tmp_path, spec):
    source = MediaSource(PREFER, tmp_path / "cache", spec)
    recipes = (VideoRecipe(num_frames=8, offset=10 * i) for i in range(4))
    return [source.ref(numbered_video(tmp_path / f"{i}.mp4", recipe)) for i, recipe in enumerate(recipes)]


class Loads:
    """Loads clips and remembers which, in order, and in which thread."""

    def __init__(self):
        self.keys, self.threads, self.gate = [], set(), threading.Semaphore(0)

    def __call__(self, ref):
        self.keys.append(ref.key)
        self.threads.add(threading.current_thread().name)
        self.gate.release()
        return load(ref)

    def wait(self, count):
        for _ in range(count):
            assert self.gate.acquire(timeout=10)


def test_clips_are_read_ahead_in_order_within_the_bound_and_taken_once(refs):
    loads = Loads()
    size = load(refs[0]).frames.nbytes
    ahead = ReadAhead(loads, 2 * size)
    ahead.plan(refs)
    loads.wait(2)
    assert not loads.gate.acquire(timeout=0.1)  # the bound is reached
    assert np.array_equal(ahead.take(refs[0]).frames, load(refs[0]).frames)
    loads.wait(1)
    assert loads.keys == [ref.key for ref in refs[:3]]
    assert ahead.take(refs[0]) is None
    assert ahead.take(refs[3]) is None  # not begun: the caller is faster
    assert ahead.take(refs[2]) is not None
    ahead.close()
    assert loads.threads == {"read-ahead"}


def test_a_new_plan_replaces_the_old_one(refs):
    loads = Loads()
    ahead = ReadAhead(loads, 1)  # one clip at a time
    ahead.plan(refs[:2])
    loads.wait(1)
    ahead.plan(refs[2:])
    loads.wait(1)
    assert ahead.take(refs[0]) is None
    assert ahead.take(refs[2]) is not None
    loads.wait(1)
    ahead.close()
    assert loads.keys == [refs[0].key, refs[2].key, refs[3].key]


def test_an_error_ahead_is_met_by_who_asks(refs):
    Path(refs[0].entry).write_bytes(b"")
    reader = ClipReader()
    reader.prefetch(refs)
    with pytest.raises(MediaError, match="not a whole cache entry"):
        reader.load(refs[0])
    assert reader.load(refs[1]).metadata == refs[1].metadata
    reader.close()


def test_a_reader_uses_what_was_read_ahead_across_steps(refs, monkeypatch):
    loads = Loads()
    monkeypatch.setattr(source_module, "load", loads)
    reader = ClipReader()
    reader.load(refs[0])
    reader.prefetch(refs[1:3])
    loads.wait(3)
    reader.clear()
    for ref in refs[1:]:
        assert reader.load(ref).metadata == ref.metadata
    assert (reader.opens, reader.distinct) == (3, 3)
    assert loads.keys == [ref.key for ref in refs]
    reader.close()


def test_a_reader_holds_no_more_memory_of_its_own_than_it_may(refs, monkeypatch):
    monkeypatch.setattr(storage, "on_network", lambda descriptor: True)
    reader = ClipReader(held_bytes=load(refs[0]).frames.nbytes * 2)
    for ref in refs:
        reader.load(ref)
    reader.load(refs[3])
    assert (reader.opens, reader.distinct) == (4, 4)
    reader.load(refs[0])
    assert (reader.opens, reader.distinct) == (5, 4)
