# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import Path

import pytest

from eval.aggregate import breakdown
from eval.benchmark import BENCHMARKS
from eval.choices import multiple_choice
from eval.command import names
from eval.grading import official_grade, robust_grade
from eval.item import Graded
from eval.options import locate
from eval.runner import read_items
from verl.errors import ConfigError

PAGE = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code of a language in the section on a benchmark of one's own."""
    section = PAGE[PAGE.index("## Your own benchmark") :]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def kitchen(tmp_path):
    file = tmp_path / "kitchen.py"
    file.write_text(blocks("python")[0])
    folder = tmp_path / "data" / "kitchen"
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations" / "rows.jsonl").write_text(blocks("json")[0])
    (folder / "videos").mkdir()
    return f"{file}:KITCHEN"


def test_the_benchmark_of_the_page_runs_from_a_file_of_its_own(kitchen, tmp_path):
    assert names(kitchen) == (kitchen,)
    benchmark = BENCHMARKS.resolve(kitchen)
    annotations, media = locate(benchmark, tmp_path / "data", None, None)
    items = read_items(benchmark, annotations)
    assert media == tmp_path / "data" / "kitchen" / "videos"
    assert [(item.id, item.video, item.answer) for item in items] == [
        ("1", "videos/monday.mp4", "B"),
        ("2", "videos/monday.mp4", "A"),
    ]
    asked = benchmark.ask["official"](items[1], []).user
    assert asked == "<video>Who cooks?\nA. Ann\nB. Bo\nC. Cy\nAnswer with one letter (A, B, or C)."
    grades = [official_grade(benchmark, "official", item, "B. rice") for item in items]
    rows = [Graded(item=item, grade=grade) for item, grade in zip(items, grades, strict=True)]
    assert [grade.score for grade in grades] == [1.0, 0.0]
    assert benchmark.aggregate(rows)["accuracy"].value == 50.0
    assert {name: one.value for name, one in breakdown(rows, "room").items()} == {"room/pantry": 100, "room/kitchen": 0}
    assert robust_grade(items[0], "I would say: rice.").score == 1.0


def test_a_benchmark_that_shares_data_is_found_in_the_folder_of_the_other(tmp_path):
    for name in ("annotations", "videos"):
        (tmp_path / "videomme" / name).mkdir(parents=True)
    shared = BENCHMARKS["videomme_subtitles"]
    assert locate(shared, tmp_path, None, None)[0] == tmp_path / "videomme" / "annotations"
    with pytest.raises(ConfigError, match="annotations of MVBench"):
        locate(BENCHMARKS["mvbench"], tmp_path, None, None)


def test_the_page_lists_every_benchmark_of_its_kind():
    plain = [name for name in BENCHMARKS if BENCHMARKS[name].read.__module__ == multiple_choice.__module__]
    section = PAGE[: PAGE.index("## Your own benchmark")]
    assert len(plain) > 15
    assert [name for name in plain if f"`{name}`" not in section] == []
