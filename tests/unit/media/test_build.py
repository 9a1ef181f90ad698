# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import errno
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.media import accidents
from tests.videos import VideoRecipe, numbered_video
from verl.errors import ConfigError
from verl.media import worker, writers
from verl.media.build import BuildOptions, BuildReport, Failure, build
from verl.media.cache import ClipCache
from verl.media.claims import STALE_SECONDS, claim
from verl.media.crew import Crew
from verl.media.decode import decode
from verl.media.entry import verify
from verl.media.spec import source_id
from verl.media.worker import Built, Busy, Failed, Found, NoRoom, Task

OPTIONS = BuildOptions(num_workers=1, progress=False, keep_free_bytes=0)


@pytest.fixture
def paths(tmp_path):
    recipes = (VideoRecipe(num_frames=8, offset=10 * i) for i in range(3))
    return [str(numbered_video(tmp_path / f"{i}.mp4", recipe)) for i, recipe in enumerate(recipes)]


@pytest.fixture
def task(tmp_path, paths, spec):
    (tmp_path / "cache").mkdir()
    source = source_id(paths[0])
    key = spec.cache_key(source)
    root = tmp_path / "cache"
    return Task(root=root, key=key, source=source, spec=spec, codec="raw", keep_free_bytes=0, retry_failed=False)


def run(jobs, tmp_path, hire=Crew, **changes):
    return build(jobs, tmp_path / "cache", replace(OPTIONS, **changes), hire)


def accident(function):
    return lambda work: Crew(replace(work, function=function))


def entry(tmp_path, path, spec):
    return ClipCache(tmp_path / "cache").find(spec.cache_key(source_id(path)))


def hidden(root):
    return [path.name for path in root.rglob(".*")]


def test_every_distinct_clip_is_built_once_and_then_reused(tmp_path, paths, spec):
    (tmp_path / "link.mp4").symlink_to(paths[0])
    jobs = [(path, spec) for path in [*paths, *paths, str(tmp_path / "link.mp4")]]
    first = run(jobs, tmp_path)
    assert (first.built, first.reused, first.failed) == (3, 0, ())
    assert first.keys == {path: spec.cache_key(source_id(path)) for path, _ in jobs}
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
    assert "cannot open" in reasons[missing]
    assert "failed before" in dict(run(jobs, tmp_path).failed)[str(broken)]
    again = dict(run(jobs, tmp_path, retry_failed=True).failed)[str(broken)]
    assert "failed before" not in again


def test_failures_are_counted_by_reason():
    failed = (Failure("a", "lost frame 3 of 10"), Failure("b", "no video"), Failure("c", "lost frame 12 of 20"))
    report = BuildReport(built=0, reused=0, failed=failed, bytes=0, seconds=1.0, keys={})
    assert report.reasons() == [(2, "lost frame N of N", "a"), (1, "no video", "b")]


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


def test_a_place_that_cannot_be_written_to_is_refused_before_anything_starts(tmp_path, paths, spec):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ConfigError, match=r"cannot write to the cache .*cache"):
        run([(paths[0], spec)], tmp_path)


def test_a_decoder_that_crashes_or_hangs_costs_one_clip_and_one_that_is_killed_none(tmp_path, paths, spec):
    names = ("segfault", "hang", "killed_once", "killed_always")
    made = [str(numbered_video(tmp_path / f"{name}.mp4", VideoRecipe(num_frames=8))) for name in names]
    jobs = [(path, spec) for path in [*made, paths[0]]]
    report = run(jobs, tmp_path, accident(accidents.make_or_crash), timeout_seconds=3.0)
    assert report.built == 2
    reasons = {Path(path).stem: reason for path, reason in report.failed}
    assert reasons == {
        "segfault": "its process died (SIGSEGV)",
        "hang": "not finished after 3 seconds",
        "killed_always": "its process died (SIGKILL)",
    }
    again = run(jobs, tmp_path)  # what was killed from outside is tried again, by processes that are left in peace
    assert again.built == 1
    assert {Path(path).stem for path, _ in again.failed} == {"segfault", "hang"}
    assert hidden(tmp_path / "cache") == []


def test_a_clip_killed_before_its_rename_is_made_again(tmp_path, paths, spec):
    report = run([(paths[0], spec)], tmp_path, accident(accidents.make_and_die))
    assert (tmp_path / "cache" / "died").exists()
    assert report.built == 1
    verify(entry(tmp_path, paths[0], spec))
    assert hidden(tmp_path / "cache") == []


def test_a_full_disk_ends_the_build_before_it_fills_and_tells_what_is_needed(tmp_path, paths, spec):
    report = run([(path, spec) for path in paths], tmp_path, keep_free_bytes=1 << 60)
    assert (report.built, report.failed) == (0, ())
    assert report.shortage.clips_left == 3
    clip = decode(paths[0], spec).frames.nbytes
    assert report.shortage.needed_bytes == 3 * clip
    assert f"the 3 clips left need about {3 * clip / 2**20:.1f} MiB" in str(report.shortage)
    assert list((tmp_path / "cache").rglob("*.*")) == []
    assert run([(path, spec) for path in paths], tmp_path).built == 3


def test_a_disk_that_fills_in_the_middle_of_a_write_leaves_nothing(task, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    outcome = worker.make(task)
    assert isinstance(outcome, NoRoom)
    assert outcome.clip_bytes > 0
    assert [path for path in task.root.rglob("*") if path.is_file()] == []
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    assert isinstance(worker.make(task), Built)


def test_other_trouble_with_the_disk_is_not_taken_for_a_full_one(task, monkeypatch):
    def broken(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        worker.make(task)


def test_a_clip_that_another_process_is_making_waits_until_that_process_is_done_dead_or_silent(task):
    path = ClipCache(task.root).entry_path(task.key)
    note = path.with_name(f".{path.stem}.claim")
    with claim(path) as mine:
        assert mine
        assert worker.make(task) == Busy()
        long_ago = time.time() - STALE_SECONDS - 5
        os.utime(note, (long_ago, long_ago), follow_symlinks=False)
        assert isinstance(worker.make(task), Built)  # silent
    path.unlink()
    note.symlink_to(f"{writers.machine()}.{dead_pid()}.00000000")
    assert isinstance(worker.make(task), Built)  # dead
    assert worker.make(task) == Found()  # done
    assert hidden(task.root) == []


def test_a_claim_of_another_machine_counts_while_it_is_fresh(task):
    path = ClipCache(task.root).entry_path(task.key)
    path.parent.mkdir()
    path.with_name(f".{path.stem}.claim").symlink_to(f"0123456789ab.{dead_pid()}.00000000")
    assert worker.make(task) == Busy()


def test_pixels_of_a_replaced_file_never_appear_under_the_key_of_the_old_one(task, paths, monkeypatch):
    def replaced(path, spec):
        clip = decode(path, spec)
        numbered_video(Path(path), VideoRecipe(num_frames=9))
        return clip

    monkeypatch.setattr(worker.decode, "decode", replaced)
    outcome = worker.make(task)
    assert isinstance(outcome, Failed)
    assert "changed while" in outcome.reason
    assert ClipCache(task.root).find(task.key) is None
    assert ClipCache(task.root).failure(task.key) is None


def test_only_what_dead_writers_left_is_swept(tmp_path):
    dead, alive = f"{writers.machine()}.{dead_pid()}.00000000", writers.mark()
    key = "0123456789abcdef" * 2
    left = [f".{key}.{dead}.tmp", f".{key}.fail.{dead}.tmp", f".{key}.old-host.1.00000000.tmp"]
    kept = [f".{key}.{alive}.tmp", f".{key}.new-host.1.00000000.tmp", ".something.tmp", f"{key}.safetensors"]
    for name in left + kept:
        (tmp_path / name).write_text("")
    (tmp_path / f".{key}.claim").symlink_to(dead)
    (tmp_path / f".{key[::-1]}.claim").symlink_to(alive)
    old = time.time() - writers.OLD_SECONDS - 60
    for name in (left[2], ".something.tmp"):
        os.utime(tmp_path / name, (old, old))
    assert writers.sweep([tmp_path, tmp_path / "missing"]) == 4
    assert {path.name for path in tmp_path.iterdir()} == {*kept, f".{key[::-1]}.claim"}


def dead_pid():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_progress_tells_clips_rate_failures_and_time_left(tmp_path, paths, spec, capsys):
    run([(path, spec) for path in paths], tmp_path, progress=True)
    line = capsys.readouterr().err.strip().split("\r")[-1]
    assert line.startswith("100%, 3/3 clips, ")
    assert " clips/s, 0 failed, " in line
    assert line.endswith(" left")
