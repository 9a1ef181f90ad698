# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from tests.videos import VideoRecipe, numbered_video
from verl.errors import ConfigError
from verl.media.build import build
from verl.media.cache import ClipCache
from verl.media.decode import decode
from verl.media.entry import verify
from verl.media.spec import source_id


@pytest.fixture
def paths(tmp_path):
    recipes = (VideoRecipe(num_frames=8, offset=10 * i) for i in range(3))
    return [str(numbered_video(tmp_path / f"{i}.mp4", recipe)) for i, recipe in enumerate(recipes)]


def run(jobs, tmp_path, **options):
    return build(jobs, tmp_path / "cache", num_workers=1, progress=False, **options)


def entry(tmp_path, path, spec):
    return ClipCache(tmp_path / "cache").find(spec.cache_key(source_id(path)))


def test_every_distinct_clip_is_built_once_and_then_reused(tmp_path, paths, spec):
    (tmp_path / "link.mp4").symlink_to(paths[0])
    jobs = [(path, spec) for path in [*paths, *paths, str(tmp_path / "link.mp4")]]
    first = run(jobs, tmp_path)
    assert (first.built, first.reused, first.failed) == (3, 0, ())
    files = [entry(tmp_path, path, spec) for path in paths]
    assert first.bytes == sum(file.stat().st_size for file in files)
    for path, file in zip(paths, files, strict=True):
        verify(file)
        assert np.array_equal(ClipCache.load(file, spec).frames, decode(path, spec).frames)
    second = run([*jobs, (paths[0], replace(spec, fps=3))], tmp_path)
    assert (second.built, second.reused, second.failed) == (1, 3, ())


def test_failures_are_reported_recorded_and_not_retried_unless_asked(tmp_path, paths, spec):
    broken, missing = tmp_path / "broken.mp4", str(tmp_path / "missing.mp4")
    broken.write_bytes(b"not a video")
    jobs = [(path, spec) for path in (str(broken), missing, paths[0])]
    first = run(jobs, tmp_path)
    assert first.built == 1
    reasons = dict(first.failed)
    assert reasons.keys() == {str(broken), missing}
    assert "damaged" in reasons[str(broken)]
    assert "missing.mp4: cannot open" in reasons[missing]
    assert "failed before" in dict(run(jobs, tmp_path).failed)[str(broken)]
    again = dict(run(jobs, tmp_path, retry_failed=True).failed)[str(broken)]
    assert "failed before" not in again


def test_a_damaged_entry_is_replaced(tmp_path, paths, spec):
    run([(paths[0], spec)], tmp_path)
    file = entry(tmp_path, paths[0], spec)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    report = run([(paths[0], spec)], tmp_path)
    assert (report.built, report.reused) == (1, 0)
    assert file.read_bytes() == whole


def test_an_impossible_spec_is_refused_before_anything_starts(tmp_path, paths, spec):
    with pytest.raises(ConfigError):
        run([(paths[0], replace(spec, fps=-1))], tmp_path)
