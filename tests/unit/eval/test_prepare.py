# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from eval import prepare
from eval.benchmark import BENCHMARKS
from eval.options import Shard, locate
from eval.prepare import jobs, survey, write_embedded
from eval.questions import Sight, located
from eval.runner import read_items
from tests.unit.eval.annotated import official_annotations
from tests.unit.eval.world import TOY
from tests.videos import numbered_video, read_number, write_numbered_frames
from tests.world import tiny_model
from verl.errors import ConfigError, DataError
from verl.media.source import load

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


def png(colour: str) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(sink, "png")
    return sink.getvalue()


def adaptation(folder, **images: object):
    """Annotations of Video-MMMU with images inside, as the data set has them."""
    rows = [
        {
            "id": f"dev_Biology_{name}",
            "question": "<image 1> Which sugar is it?",
            "options": ["aldose", "ketose"],
            "answer": "A",
            "question_type": "multiple-choice",
            "image": content,
        }
        for name, content in images.items()
    ]
    path = folder / "videommmu" / "annotations" / "Adaptation" / "test-00000.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema([*SCHEMA, ("image", kind)])), path)
    (folder / "videommmu" / "videos").mkdir(exist_ok=True)
    return path


SCHEMA = [(name, pa.string()) for name in ("id", "question")] + [("options", pa.list_(pa.string()))]
SCHEMA += [(name, pa.string()) for name in ("answer", "question_type")]


def test_images_inside_annotations_are_written_to_where_questions_look_for_them(tmp_path, capsys):
    adaptation(tmp_path, **{"1": {"bytes": png("red"), "path": "1.png"}, "2": {"bytes": png("blue"), "path": None}})
    command = ["videommmu", "--data_root", str(tmp_path)]
    assert prepare.main(command) == 1
    told = capsys.readouterr().out
    assert "2 images written out of the annotations" in told and "2 media files are missing" in told  # the videos
    assert "they come from huggingface.co/datasets/lmms-lab/VideoMMMU" in told
    media = tmp_path / "videommmu" / "videos"
    benchmark = BENCHMARKS["videommmu"]
    items = read_items(benchmark, tmp_path / "videommmu" / "annotations")
    assert [(media / item.media[1].path).read_bytes() for item in items] == [png("red"), png("blue")]
    assert [item.labels["track"] for item in items] == [("Adaptation",)] * 2
    words = benchmark.ask["official"](items[0], []).user
    assert words.startswith("<video><image>You should watch") and "The image for this question is at the end" in words
    for item in items:
        (media / item.media[0].path).parent.mkdir(exist_ok=True)
        (media / item.media[0].path).touch()
    assert prepare.main(command) == 0
    again = capsys.readouterr().out
    assert "images written" not in again and "missing" not in again


def test_what_is_no_image_and_what_would_lie_outside_is_refused(tmp_path, capsys):
    path = adaptation(tmp_path, **{"1": {"bytes": b"no image", "path": "1.png"}})
    assert prepare.main(["videommmu", "--data_root", str(tmp_path)]) == 2
    assert "what should be images/dev_Biology_1.png is no image" in capsys.readouterr().err
    assert not (tmp_path / "videommmu" / "videos" / "images").exists()
    benchmark = replace(BENCHMARKS["videommmu"], embedded=lambda _: [("../../elsewhere.png", png("red"))])
    with pytest.raises(DataError, match="is outside"):
        write_embedded(benchmark, path, tmp_path / "videommmu" / "videos")


def test_files_beside_the_folder_of_videos_are_not_missing(tmp_path):
    rows = [{"question_id": "001-1", "videoID": "abc", "question": "Q?", "options": ["A. x", "B. y"], "answer": "B"}]
    (tmp_path / "test.json").write_text(json.dumps(rows))
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "abc.mp4").touch()
    for folder in (tmp_path, tmp_path / "videos"):
        assert survey(BENCHMARKS["videomme"], tmp_path / "test.json", folder).missing == ()


def test_a_set_of_unknown_size_is_not_compared(tmp_path, capsys):
    official_annotations("mlvu_test_generation", tmp_path / "mlvu_test")
    assert prepare.main(["mlvu_test_generation", "--data_root", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "2 items (the size of the official set is not published)" in told and "published ones" not in told


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


def test_a_missing_file_is_named_where_it_is_to_be_put(tmp_path):
    folder = tmp_path / "kitchen" / "videos"
    folder.mkdir(parents=True)
    assert located(folder, "videos/a.mp4") == folder / "a.mp4" and located(folder, "b/a.mp4") == folder / "b" / "a.mp4"
    (folder / "videos").mkdir()
    (folder / "videos" / "a.mp4").touch()
    assert located(folder, "videos/a.mp4") == folder / "videos" / "a.mp4"


def test_an_episode_of_mvbench_is_a_folder_of_frames(tmp_path):
    row = {"video": "castle_s01e01_seg02_clip_00", "question": "Q?", "candidates": ["red", "blue"], "answer": "blue"}
    annotations = tmp_path / "episodic_reasoning.json"
    annotations.write_text(json.dumps([row | {"start": 2.0, "end": 8.0}]))
    (item,) = read_items(BENCHMARKS["mvbench"], annotations)
    assert item.labels == {"task": ("Episodic Reasoning",)}
    (medium,) = item.media
    write_numbered_frames(tmp_path / "videos" / medium.path, range(1, 41))
    sight = Sight.of(BENCHMARKS["mvbench"].budget, 32, folder=tmp_path / "videos", cache_dir=tmp_path / "cache")
    ref = sight.ref(medium)
    numbers = [read_number(frame) for frame in load(ref).frames]
    assert numbers == [7, 9, 10, 12, 13, 15, 16, 18, 19, 21, 22, 24]  # 3 a second are there, 2 are shown
    assert ref.metadata.timestamps[-1] == pytest.approx(17 / 3)
    found = survey(BENCHMARKS["mvbench"], annotations, tmp_path / "videos")
    assert (found.missing, jobs(found, sight)) == ((), [(ref.path, ref.spec)])
