# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
from dataclasses import replace

import pytest

from tests.unit.media.clips import SPEC, make_clip, make_older, source_of, stored
from verl.errors import DataError
from verl.media.__main__ import main
from verl.media.cache import ClipCache
from verl.media.care import DAY, HOUR, PruneRule, References, plan_prune, prune, stats, verify
from verl.types import SourceId


@pytest.fixture
def cache(tmp_path):
    return ClipCache(tmp_path / "cache")


@pytest.fixture
def entries(cache):
    """Three entries, written three, two and one day ago."""
    paths = [stored(cache, f"/videos/{i}.mp4", clip=make_clip(seed=i)) for i in range(3)]
    for age, path in zip((3, 2, 1), paths, strict=True):
        make_older(path, age * DAY)
    return paths


def flip(path, place=-100):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def rows(path, *values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def removed(cache, **rule):
    return [one.path for one in plan_prune(cache, PruneRule(**rule)).remove]


def test_fast_verify_sees_headers_and_sizes_and_full_verify_every_bit(cache, entries):
    assert verify(cache, full=True).sound == 3
    flip(entries[0])
    assert verify(cache, full=False).problems == ()
    ((path, reason),) = verify(cache, full=True).problems
    assert path == entries[0]
    assert "checksum" in reason
    entries[1].write_bytes(entries[1].read_bytes()[:-1])
    assert [path for path, _ in verify(cache, full=False).problems] == [entries[1]]


def test_verify_sees_an_entry_under_a_wrong_name(cache, entries):
    wrong = cache.entry_path("ab" * 16)
    wrong.parent.mkdir(exist_ok=True)
    entries[0].rename(wrong)
    ((path, reason),) = verify(cache, full=False).problems
    assert path == wrong
    assert f"holds the entry {entries[0].stem}" in reason


def test_the_command_verifies_and_says_so_in_its_exit_status(cache, entries, capsys):
    cache.record_failure("12" * 16, source_of("/videos/x.mp4"), "broken")
    assert main(["verify", str(cache.root), "--full"]) == 0
    assert "3 sound entries" in capsys.readouterr().out
    flip(entries[2])
    assert main(["verify", str(cache.root)]) == 0
    capsys.readouterr()
    assert main(["verify", str(cache.root), "--full"]) == 1
    out = capsys.readouterr().out
    assert str(entries[2]) in out
    assert "2 sound entries" in out
    assert "1 damaged; 1 videos recorded as unreadable" in out
    assert main(["verify", str(cache.root / "missing")]) == 1


def test_stats_add_up_recipes_codecs_and_reasons(cache, entries, capsys):
    stored(ClipCache(cache.root, "zrow"), spec=replace(SPEC, fps=1.0))
    for number in range(3):
        path = f"/videos/broken{number}.mp4"
        reason = f"{path}: frame {number} is damaged" if number < 2 else f"{path}: not a video"
        cache.record_failure(f"{number}" * 32, source_of(path), reason)
    flip(entries[0], 20)
    found = stats(cache)
    assert (found.total.entries, found.total.frames, found.unreadable) == (3, 12, 1)
    assert found.total.bytes == sum(path.stat().st_size for path in cache.root.rglob("*.safetensors")) - (
        entries[0].stat().st_size
    )
    assert {name: share.entries for name, share in found.by_codec.items()} == {"raw": 2, "zrow": 1}
    assert sorted(share.entries for share in found.by_spec.values()) == [1, 2]
    assert found.failures == {"frame N is damaged": 2, "not a video": 1}
    assert main(["stats", str(cache.root)]) == 0
    out = capsys.readouterr().out
    assert "recipe fps=1.0 max_frames=16 min_pixels=1024 max_pixels=65536: 1 entries" in out
    assert "failed 2: frame N is damaged" in out


def test_prune_by_age_and_by_size_takes_the_oldest(cache, entries):
    size = entries[0].stat().st_size
    assert removed(cache) == []
    assert removed(cache, older_than=2.5 * DAY) == entries[:1]
    assert removed(cache, max_bytes=3 * size) == []
    assert removed(cache, max_bytes=3 * size - 1) == entries[:1]
    assert removed(cache, max_bytes=0) == entries
    assert removed(cache, older_than=2.5 * DAY, max_bytes=size) == entries[:2]


def test_prune_never_takes_what_is_younger_than_an_hour(cache, entries):
    make_older(entries[0], HOUR - 60)
    assert removed(cache, older_than=0) == entries[1:]
    assert removed(cache, max_bytes=0) == entries[1:]
    plan = plan_prune(cache, PruneRule(older_than=0))
    make_older(entries[1], 60)  # built anew between plan and deed
    assert prune(plan) == 1
    assert entries[0].exists()
    assert entries[1].exists()
    assert not entries[2].exists()


def test_prune_takes_unfinished_files_after_a_day(cache, entries):
    young, old = (entries[0].with_name(f".{entries[0].stem}.host.1.0000000{i}.tmp") for i in range(2))
    for path, age in ((young, DAY - 60), (old, DAY + 60)):
        path.touch()
        make_older(path, age)
    assert removed(cache) == [old]
    assert removed(cache, older_than=HOUR, max_bytes=0) == [*entries[:2], old, entries[2]]


def test_prune_leaves_everything_that_is_not_of_the_cache(cache, entries, tmp_path):
    folder = entries[0].parent
    source = folder / "video.mp4"
    (tmp_path / "elsewhere.safetensors").write_bytes(b"precious")
    linked = folder / f"{folder.name}{'0' * 30}.safetensors"
    strangers = [source, folder / "model.safetensors", cache.root / f"{'0' * 32}.safetensors"]
    for path in strangers:
        path.write_bytes(b"precious")
        make_older(path, 99 * DAY)
    linked.symlink_to(tmp_path / "elsewhere.safetensors")
    assert prune(plan_prune(cache, PruneRule(older_than=0, max_bytes=0))) == 3
    assert all(path.read_bytes() == b"precious" for path in [*strangers, linked])


def test_prune_keeps_what_rows_name_and_of_other_rows_all_entries_of_their_videos(cache, tmp_path):
    videos = [tmp_path / f"{i}.mp4" for i in range(4)]
    for video in videos:
        video.touch()
    named, of_named, by_source, unused = (stored(cache, video) for video in videos)
    other = stored(cache, videos[0], spec=replace(SPEC, fps=1.0))
    another = stored(cache, videos[2], spec=replace(SPEC, fps=1.0))
    for index, video in enumerate((videos[1], tmp_path / "gone.mp4")):
        key = f"{index}" * 32
        cache.record_failure(key, SourceId(path=str(video), size=1, mtime_ns=1), "no")
        make_older(cache.root / key[:2] / f"{key}.fail.json", DAY)
    for path in (named, of_named, by_source, unused, other, another):
        make_older(path, DAY)
    data = rows(
        tmp_path / "data.jsonl",
        {"videos": ["0.mp4"], "preprocessed_video": str(named.relative_to(cache.root))},
        {"videos": ["1.mp4"], "preprocessed_video": [str(of_named.relative_to(cache.root))]},
        {"videos": "2.mp4"},
        {"problem": "no video"},
    )
    keep = References.of([data], tmp_path)
    gone = cache.root / "11" / f"{'1' * 32}.fail.json"
    assert set(removed(cache, keep=keep)) == {unused, other, gone}


def test_data_files_without_a_video_are_not_a_reason_to_remove_everything(cache, entries, tmp_path):
    for data in (rows(tmp_path / "text.jsonl", {"problem": "1 + 1"}), rows(tmp_path / "empty.jsonl")):
        with pytest.raises(DataError, match="everything would go"):
            References.of([data])
    assert main(["prune", str(cache.root), "--keep", str(tmp_path / "missing.jsonl"), "--yes"]) == 1
    assert all(path.exists() for path in entries)


def test_the_command_removes_only_when_told_to(cache, entries, capsys):
    command = ["prune", str(cache.root), "--older_than", "36h"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "to remove: 2 entry, 0 failure, 0 unfinished files" in out
    assert "nothing was removed; add --yes" in out
    assert all(path.exists() for path in entries)
    assert main([*command, "--yes"]) == 0
    assert "2 files removed" in capsys.readouterr().out
    assert [path.exists() for path in entries] == [False, False, True]


@pytest.mark.parametrize("flag", [("--older_than", "5"), ("--max_size", "all"), ("--max_size", "-1G")])
def test_a_limit_that_cannot_be_read_is_refused(cache, entries, flag):
    with pytest.raises(SystemExit) as stopped:
        main(["prune", str(cache.root), "=".join(flag)])
    assert stopped.value.code == 2


def test_the_command_recodes(cache, entries, capsys):
    before = entries[0].stat().st_size
    assert main(["recode", str(cache.root), "--codec", "zrow"]) == 0
    assert entries[0].stat().st_size < before
    assert verify(cache, full=True).sound == 3
    flip(entries[0], 20)
    assert main(["recode", str(cache.root), "--codec", "raw"]) == 1
    assert "1 could not be read" in capsys.readouterr().out
    assert entries[1].stat().st_size == before


def test_what_the_system_refuses_is_said_and_no_traceback(cache, entries, monkeypatch, capsys):
    monkeypatch.setattr(ClipCache, "recode", lambda self, path: os.open(path / "below a file", os.O_RDONLY))
    assert main(["recode", str(cache.root), "--codec", "zrow"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
