# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.quickstart.make_videos import (
    JOINT,
    STILL_SIZE,
    Recipe,
    VideoFormat,
    paint,
    parse_kinds,
    write_dataset,
    write_split,
)
from examples.quickstart.questions import COLOURS, KINDS, Scene, Shape
from tests.world import tiny_rows, tiny_video
from verl.data.checks import RecordCheck
from verl.data.records import RowFormat, read_records
from verl.media.source import MediaSource, SourceMode, load
from verl.rewards.router import validate_answer
from verl.types import VideoSpec

ROOT = Path(__file__).parents[3]
EVERYTHING = Recipe(kinds=dict.fromkeys(KINDS, 1.0), train=24, val=8)
JOINT_RECIPE = Recipe(kinds={"colour": 1.0}, media=JOINT)
EVERY_FRAME = VideoSpec(fps=4, max_frames=16, min_pixels=64 * 64, max_pixels=64 * 64)


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def rows(directory: Path, split: str) -> list[dict]:
    return [json.loads(line) for line in (directory / f"{split}.jsonl").read_text().splitlines()]


def clip(path: Path) -> np.ndarray:
    """[F, H, W, 3] float."""
    frames = load(MediaSource(SourceMode.REALTIME_ONLY, None, EVERY_FRAME).ref(path)).frames
    return frames.transpose(0, 2, 3, 1).astype(float)


def shown(frames: np.ndarray) -> np.ndarray:
    """[F] pixels of each frame that are brighter than the ground."""
    return (frames.max(axis=-1) > 120).sum(axis=(1, 2))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    write_dataset(directory, EVERYTHING)
    return directory


def test_another_process_makes_the_same_bytes(tmp_path: Path) -> None:
    write_dataset(tmp_path / "here", Recipe(kinds={"colour": 1.0}, train=40, val=2))
    command = [sys.executable, "-m", "examples.quickstart.make_videos", "--directory", str(tmp_path / "there")]
    subprocess.run([*command, "--train", "40", "--val", "2"], cwd=ROOT, check=True, capture_output=True)
    assert files(tmp_path / "here") == files(tmp_path / "there")


def test_no_video_is_in_both_splits_or_twice_in_one(dataset: Path) -> None:
    videos = [content for name, content in files(dataset).items() if name.endswith(".mp4")]
    assert len(videos) == len(set(videos)) == 32


def test_another_seed_makes_other_videos(tmp_path: Path) -> None:
    for seed in (0, 1):
        tiny_rows(tmp_path / str(seed), 4, seed=seed)
    first, second = (set(files(tmp_path / str(seed)).values()) for seed in (0, 1))
    assert len(first & second) == 1  # the rows are the same, as answers take turns; no video is


def test_what_is_there_is_reused_only_if_it_was_finished_with_the_same_parameters(dataset: Path) -> None:
    before = files(dataset)
    video = next((dataset / "videos").iterdir())
    written = video.stat().st_mtime_ns
    assert not write_dataset(dataset, EVERYTHING)
    assert video.stat().st_mtime_ns == written
    (dataset / "manifest.json").unlink()
    assert write_dataset(dataset, EVERYTHING)
    assert files(dataset) == before
    assert write_dataset(dataset, Recipe(kinds={"colour": 1.0}, train=1, val=1))
    assert write_dataset(dataset, EVERYTHING)


def test_the_trainer_reads_every_row_and_every_ground_truth_is_valid(dataset: Path) -> None:
    format = RowFormat(video_root=str(dataset))
    records = read_records([str(dataset / "train.jsonl")], format, RecordCheck(answer=validate_answer))
    assert {record.problem_type for record in records} == {kind.problem_type for kind in KINDS.values()}
    assert all(Path(record.videos[0]).is_file() and record.problem.count("<video>") == 1 for record in records)


@pytest.mark.parametrize(("kind", "answers"), [("colour", 4), ("boolean", 2), ("counting", 4)])
def test_every_answer_is_right_equally_often(tmp_path: Path, kind: str, answers: int) -> None:
    counts = Counter(row["answer"] for row in tiny_rows(tmp_path, 16, kinds=kind))
    assert set(counts.values()) == {16 // answers}


def test_a_shape_has_the_colour_that_its_answer_names(tmp_path: Path) -> None:
    for row in tiny_rows(tmp_path, 8):
        pixels = clip(tmp_path / row["videos"][0])
        seen = pixels[pixels.max(axis=-1) > 120].mean(axis=0)
        distance = {name: np.abs(seen - colour).max() for name, colour in COLOURS.items()}
        nearest = min(distance, key=distance.get)
        assert f"{row['answer']}. {nearest}" in row["options"]


def test_white_is_seen_exactly_where_the_answer_is_yes(tmp_path: Path) -> None:
    for row in tiny_rows(tmp_path, 8, kinds="boolean"):
        white = (clip(tmp_path / row["videos"][0]).min(axis=-1) > 180).any()
        assert row["answer"] == ("Yes" if white else "No")


def test_as_many_quarters_show_a_shape_as_the_answer_counts(tmp_path: Path) -> None:
    for row in tiny_rows(tmp_path, 8, kinds="counting"):
        frame = clip(tmp_path / row["videos"][0])[0]
        quarters = frame.reshape(2, 32, 2, 32, 3).max(axis=(1, 3, 4)) > 150
        assert quarters.sum() == int(row["answer"])


def test_a_shape_is_visible_exactly_in_the_answered_seconds(tmp_path: Path) -> None:
    for row in tiny_rows(tmp_path, 6, kinds="grounding"):
        first, last = json.loads(row["answer"])["time"]
        moments = np.flatnonzero(shown(clip(tmp_path / row["videos"][0])) > 20) / 4
        assert (moments[0], moments[-1]) == (first, last)


def test_a_shape_moves_and_stays_inside() -> None:
    shape = Shape(form="square", colour=(255, 255, 255), size=0.25, start=(0.2, 0.5), velocity=(-0.9, 0.4))
    frames = paint(Scene(shapes=(shape,), ground=0), VideoFormat(seconds=8))
    assert set(shown(frames.astype(float))) == {16 * 16}
    assert len({frame.tobytes() for frame in frames}) > 16


def test_a_video_has_the_frames_and_the_speed_it_was_asked_for(tmp_path: Path) -> None:
    path = tiny_video(tmp_path / "video.mp4", num_frames=10, fps=5, size=96)
    metadata = MediaSource(SourceMode.REALTIME_ONLY, None, EVERY_FRAME).ref(path).metadata
    assert (metadata.total_frames, metadata.source_fps, metadata.source_height) == (10, 5.0, 96)


def test_shares_are_read_and_unknown_kinds_are_named() -> None:
    assert parse_kinds("colour:3,boolean") == {"colour": 3.0, "boolean": 1.0}
    with pytest.raises(argparse.ArgumentTypeError, match="unknown kind 'color'; there are colour"):
        parse_kinds("color:1")


def test_a_joint_data_set_shows_the_same_scenes_in_three_ways(tmp_path: Path) -> None:
    made = list(write_split(tmp_path, "train", 28, JOINT_RECIPE))
    assert [row["data_type"] for row in made] == list(JOINT) * 4
    colours = dict(zip("ABCD", COLOURS, strict=True))
    for row in made:
        name = colours[row["answer"]]
        if row["data_type"] == "image":
            pixels = np.asarray(Image.open(tmp_path / row["images"][0]))
            assert pixels.shape == (STILL_SIZE, STILL_SIZE, 3)
            assert (pixels == COLOURS[name]).all(axis=-1).any()
            assert row["problem"].count("<image>") == 1 and "<video>" not in row["problem"]
        elif row["data_type"] == "text":
            assert row["problem"].startswith(f"There is: {name}.") and "<" not in row["problem"]
    answers = {(row["data_type"], row["answer"]) for row in made}
    assert len(answers) == 12, "what a row is about says nothing about its answer"
