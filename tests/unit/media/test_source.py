# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.videos import VideoRecipe, numbered_video, read_number
from verl.errors import ConfigError, MediaError
from verl.media import decode
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
    assert source.ref(video) == made
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


def test_an_entry_that_disappears_is_decoded_unless_its_source_has_changed(tmp_path, video, spec):
    ref = MediaSource(PREFER, tmp_path / "cache", spec).ref(video)
    Path(ref.entry).unlink()
    assert load(ref).metadata == ref.metadata
    numbered_video(video, VideoRecipe(num_frames=70))
    with pytest.raises(MediaError, match="has changed"):
        load(ref)


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
