# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.videos import VideoRecipe, numbered_video, write_numbered_frames
from verl.errors import DataError
from verl.media import preprocess as preprocessing
from verl.media.cache import ClipCache
from verl.media.source import MediaSource, SourceMode
from verl.media.spec import build_command

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "scripts" / "preprocess_videos.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("preprocess_videos", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def world(tmp_path):
    for index in range(2):
        numbered_video(tmp_path / "videos" / f"{index}.mp4", VideoRecipe(num_frames=8, offset=index))
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"not a video")
    rows = [
        {"problem": "<video> a?", "videos": ["0.mp4"]},
        {"problem": "text \u2028 \u00e9"},
        {"problem": "<video>?", "videos": ["broken.mp4"], "answer": "A"},
        {"problem": "<video><video>?", "videos": ["1.mp4", "0.mp4"]},
        {"problem": "<image>?", "images": ["a.png"], "videos": []},
        {"problem": "<video> b?", "videos": ["0.mp4"]},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    return tmp_path, rows


def arguments(root, name="rows.jsonl"):
    places = {"input_file": name, "output_dir": "cache", "output_file": "out/cached.jsonl", "image_dir": "videos"}
    flags = [part for flag, place in places.items() for part in (f"--{flag}", str(root / place))]
    return [*flags, "--video_max_pixels", "9216", "--workers", "1", "--keep_free_gb", "0"]


def read(path):
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def test_the_script_runs_end_to_end(world):
    root, rows = world
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(SCRIPT), *arguments(root)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "2 videos decoded" in done.stdout
    assert "1 failed" in done.stdout
    written = read(root / "out" / "cached.jsonl")
    assert [row["problem"] for row in written] == [
        row["problem"] for row in rows if row.get("videos") != ["broken.mp4"]
    ]
    assert written[1] == rows[1]
    assert written[3] == rows[4]
    first, both = written[0]["preprocessed_video"], written[2]["preprocessed_video"]
    assert both[1] == first == written[4]["preprocessed_video"]
    assert ClipCache.load(root / "cache" / first).metadata.frame_indices == (0, 2, 5, 7)
    (failed,) = read(root / "out" / "cached.jsonl.failed.jsonl")
    assert failed.items() >= rows[2].items()
    assert "broken.mp4" in failed["preprocess_error"]


def test_errors_may_be_skipped_and_arrays_are_read(world, script, capsys):
    root, _ = world
    assert script.main([*arguments(root, "rows.json"), "--skip_errors"]) == 0
    assert "5 rows written" in capsys.readouterr().out
    assert script.main(arguments(root, "rows.json")) == 1
    assert "2 found in the cache" in capsys.readouterr().out


def test_failures_are_summarised_by_reason(world, script, capsys):
    root, _ = world
    script.main(arguments(root))
    printed = capsys.readouterr().out
    assert "  1 x " in printed
    assert f"(first: {root / 'videos' / 'broken.mp4'})" in printed


def test_a_disk_too_full_has_its_own_exit_code_and_leaves_the_last_rows_alone(world, script, capsys):
    root, _ = world
    (root / "out").mkdir()
    (root / "out" / "cached.jsonl").write_text("from before")
    assert script.main([*arguments(root), "--keep_free_gb", "1e9"]) == script.DISK_FULL
    assert "stopped before the disk was full" in (said := capsys.readouterr().err)
    assert "the 3 clips left need about" in said
    assert (root / "out" / "cached.jsonl").read_text() == "from before"


def test_the_input_is_not_overwritten(world, script, capsys):
    root, rows = world
    flags = [*arguments(root), "--output_file", str(root / "rows.jsonl")]
    assert script.main(flags) == 1
    assert "would be overwritten" in capsys.readouterr().err
    assert read(root / "rows.jsonl") == rows


def test_an_interrupt_is_told_apart_and_loses_nothing(world, script, capsys, monkeypatch):
    root, _ = world

    def interrupted(plan, hire):
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "preprocess", interrupted)
    assert script.main(arguments(root)) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_videos_that_are_no_paths_are_named_by_their_row(world, script, capsys):
    root, rows = world
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"videos": [["a.png"]]}]))
    assert script.main(arguments(root)) == 1
    assert "row 7: videos must be" in capsys.readouterr().err


def test_a_clean_run_removes_the_list_of_failures(world, script):
    root, _ = world
    script.main(arguments(root))
    numbered_video(root / "videos" / "broken.mp4", VideoRecipe(num_frames=8, offset=7))
    assert script.main(arguments(root)) == 0
    assert not (root / "out" / "cached.jsonl.failed.jsonl").exists()


def test_training_finds_what_the_script_built(world, script):
    root, _ = world
    write_numbered_frames(root / "videos" / "frames", range(8))
    with (root / "rows.jsonl").open("a") as file:
        file.write('{"problem": "<video> c?", "videos": ["frames"]}\n')
    flags = [*arguments(root), "--folder_fps", "3"]
    script.main(flags)
    spec = script.plan(script.parser().parse_args(flags)).spec
    source = MediaSource(SourceMode.PREPROCESSED_ONLY, root / "cache", spec)
    entries = [row.get("preprocessed_video") for row in read(root / "out" / "cached.jsonl")]
    for name, entry in (("0.mp4", entries[0]), ("frames", entries[-1])):
        assert source.ref(root / "videos" / name).entry == str(root / "cache" / entry)


def test_the_command_in_error_messages_builds_the_spec_it_was_made_for(script, spec):
    _, _, *flags = shlex.split(build_command(spec, "/some where/cache"))
    plan = script.plan(script.parser().parse_args(flags))
    assert plan.spec == spec
    assert plan.output_dir == Path("/some where/cache")


def test_flags_and_defaults_are_the_published_ones(script):
    flags = vars(script.parser().parse_args(["--input_file", "a", "--output_dir", "b", "--output_file", "c"]))
    published = {
        "video_fps": 2.0,
        "video_max_frames": 128,
        "video_min_pixels": 4096,
        "video_max_pixels": 65536,
        "video_total_pixels": None,
        "image_dir": None,
        "workers": 8,
        "skip_errors": False,
    }
    assert published.items() <= flags.items()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": 1}\n{"a": \n', r"rows:2"),
        ('[{"a": 1},\n\n oops]', r"rows:3"),
        ("[1]", "row 1 is int"),
        ('"a"\n', "row 1 is str"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, text, place):
    path = tmp_path / "rows"
    path.write_text(text)
    with pytest.raises(DataError, match=place):
        preprocessing.read_rows(path)
