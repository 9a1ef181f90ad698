# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from eval import prepare
from eval.options import Shard, locate
from eval.prepare import jobs, survey
from eval.questions import Sight
from tests.unit.eval.world import TOY
from tests.videos import numbered_video
from tests.world import tiny_model
from verl.errors import ConfigError

PLUG_IN = """
import json
from dataclasses import replace
from eval.item import Medium
from tests.unit.eval.world import TOY as PLAIN, item


def read(path):
    for row in json.loads(path.read_text()):
        yield item(row["id"], row["video"], media=(Medium(path=row["video"], start=row.get("start")),))


TOY = replace(PLAIN, read=read)
"""
ROWS = '[{"id": "a", "video": "a.mp4"}, {"id": "b", "video": "a.mp4", "start": 1.0}, {"id": "c", "video": "gone.mp4"}]'


@pytest.fixture
def data(tmp_path):
    (tmp_path / "plug.py").write_text(PLUG_IN)
    folder = tmp_path / "toy"
    (folder / "videos").mkdir(parents=True)
    (tmp_path / "toy.json").write_text(ROWS)
    numbered_video(folder / "videos" / "a.mp4")
    return tmp_path


def test_what_is_missing_is_named_with_its_source_and_the_rest_is_decoded(data, capsys):
    model = tiny_model(data / "model", tied=True)
    flags = ["--data_root", str(data), "--cache_dir", str(data / "cache"), "--workers", "1", "--max_frames", "4"]
    command = [f"{data}/plug.py:TOY", *flags, "--max_pixels", "4096", "--model", str(model)]
    assert prepare.main(command) == 1
    told = capsys.readouterr().out
    assert "Toy: 3 items (the official set has 4)" in told
    assert "1 media files are missing" in told and "gone.mp4" in told and "they come from here" in told
    assert "2 clips decoded, 0 were there, 0 failed" in told
    assert prepare.main(command) == 1
    assert "0 clips decoded, 2 were there" in capsys.readouterr().out


def test_no_annotations_say_where_they_were_looked_for(tmp_path, capsys):
    (tmp_path / "plug.py").write_text(PLUG_IN)
    assert prepare.main([f"{tmp_path}/plug.py:TOY", "--data_root", str(tmp_path)]) == 2
    assert f"{tmp_path}/toy/annotations" in capsys.readouterr().err


def test_an_excerpt_and_its_whole_video_are_two_clips(data):
    from verl.registry import load_attribute

    benchmark = load_attribute(f"{data}/plug.py:TOY")
    annotations, media = locate(benchmark, data, None, None)
    found = survey(benchmark, annotations, media)
    assert found.answerable == 2
    wanted = jobs(found, Sight.of(TOY.budget, 32, folder=media, cache_dir=data / "cache"))
    assert [spec.start for _, spec in wanted] == [None, 1.0]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "-1/2"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="write i/n"):
        Shard.parse(text)


def test_shards_part_the_videos_between_them_and_engines_part_a_shard():
    from eval.fleet import split

    videos = [f"v{n}.mp4" for n in range(200)]
    shards = [Shard.parse(f"{n}/3") for n in (1, 2, 3)]
    assert sorted(video for shard in shards for video in videos if shard.holds(video)) == sorted(videos)
    inner = split(shards[1], 4)
    assert {video for one in inner for video in videos if one.holds(video)} == {v for v in videos if shards[1].holds(v)}
    assert sum(one.holds(video) for one in inner for video in videos) == sum(map(shards[1].holds, videos))
