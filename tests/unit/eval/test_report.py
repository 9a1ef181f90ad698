# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from eval.aggregate import by_label, macro, micro
from eval.compare import compare, text
from eval.finished import FinishedRun, find_runs, read_run
from eval.item import Grade, Graded, Medium
from eval.questions import Sight
from eval.report import page, tables
from eval.report.writing import write_reports
from eval.statistics import blind_baselines, intervals, mean_interval
from eval.store import Outcome, write_results
from eval.summary import summarise
from tests.unit.eval.world import TOY, item
from tests.videos import VideoRecipe, numbered_video
from verl.errors import DataError
from verl.types import ImageSpec, VideoSpec

SPEC = VideoSpec(fps=2.0, max_frames=4, min_pixels=1024, max_pixels=4096)


def run(scores, folder=Path("/nowhere"), style="official", **items):
    """A finished run; a score None is a failure, "?" an open judgement. Two questions per video."""
    asked = tuple(
        item(str(n), f"v{n // 2}", labels={"kind": ("odd" if n % 2 else "even",)}, **items) for n in range(len(scores))
    )
    outcomes = [
        Outcome(id=one.id, failure="MediaError: broken <b>")
        if score is None
        else Outcome(
            id=one.id,
            response="The answer: B & more",
            official=Grade(score=None if score == "?" else score, parsed="B" if score else None),
            robust=Grade(score=1.0, parsed="B"),
        )
        for one, score in zip(asked, scores, strict=True)
    ]
    return FinishedRun(
        benchmark=replace(TOY, breakdowns=("kind",)),
        items=asked,
        outcomes=tuple(outcomes),
        sight=Sight(
            folder=folder,
            cache_dir=folder / "cache",
            spec=SPEC,
            image_spec=ImageSpec(min_pixels=1024, max_pixels=4096),
        ),
        manifest={"blind": False, "style": style, "model": {"path": "/models/tiny", "files": {}}, "limit": None},
        folder=folder,
    )


def test_every_item_is_in_the_denominator():
    summary = summarise(run([1.0, 0.0, None, "?", 1.0, 1.0]))
    assert summary.headline[0] == "overall"
    assert summary.headline[1].value == pytest.approx(50.0) and summary.headline[1].n == 6
    assert summary.official["kind/odd"].value == pytest.approx(100 / 3)
    assert summary.robust["overall"].value == pytest.approx(100 * 5 / 6)  # the failed one has no robust grade either
    counts = summary.counts
    assert (counts.items, counts.failed, counts.unjudged, counts.unparsed) == (6, 1, 1, 1)


def test_intervals_are_clustered_by_video_and_always_the_same():
    twins = run([1.0, 1.0, 0.0, 0.0] * 8)  # questions about one video agree
    mixed = run([1.0, 0.0, 1.0, 0.0] * 8)
    wide, narrow = summarise(twins).headline[1], summarise(mixed).headline[1]
    assert wide.value == narrow.value == 50.0
    assert wide.high - wide.low > 25 and narrow.high == narrow.low == 50.0
    assert summarise(twins) == summarise(twins)


def test_the_quick_interval_of_a_mean_is_that_of_the_aggregate():
    rows = [
        Graded(item=item(str(n), f"v{n // 3}"), grade=Grade(score=float(n % 5 == 0), parsed="B")) for n in range(60)
    ]
    slow = intervals(rows, lambda rows: {"micro": micro(rows)})["micro"]
    quick = mean_interval([row.item.video for row in rows], [row.grade.score for row in rows])
    assert (quick.low, quick.high) == pytest.approx((slow.low, slow.high), abs=2.0)


def test_one_video_gives_no_interval():
    figure = summarise(run([1.0, 0.0])).headline[1]
    assert figure.low is None and tables.spell(figure) == "50.0"


def test_blind_baselines_show_what_the_text_gives_away():
    items = [
        item("a", options=("no", "a long one"), answer="B"),
        item("b", options=("the longest", "x", "y", "z"), answer="A"),
        item("c", options=("same", "even"), answer="B"),
        item("d", options=(), answer="B"),  # free text has no chance level
    ]
    found = blind_baselines(items)
    assert found["chance"] == pytest.approx(100 * (0.5 + 0.25 + 0.5) / 3)
    assert found["most frequent letter"] == pytest.approx(200 / 3)
    assert found["longest option"] == pytest.approx(200 / 3)
    assert blind_baselines(items[-1:]) == {}


def test_macro_weighs_categories_alike():
    rows = [Graded(item=one, grade=Grade(score=s, parsed="B")) for one, s in zip(
        [item("a", labels={"k": ("x",)}), item("b", labels={"k": ("x", "y")}), item("c", labels={"k": ("x",)})],
        [0.0, 1.0, 0.0], strict=True)]  # fmt: skip
    parts = {name: micro(members) for name, members in by_label(rows, "k").items()}
    assert macro(parts).value == pytest.approx((100 / 3 + 100) / 2) and macro(parts).n == 2


def test_tables_hold_the_same_figures():
    summary = summarise(run([1.0, 0.0, None, 1.0]))
    rows = list(csv.DictReader(io.StringIO(tables.comma_separated([summary]))))
    overall = next(row for row in rows if row["figure"] == "overall" and row["scoring"] == "official")
    assert float(overall["value"]) == 50.0 and overall["n"] == "4"
    assert json.loads(tables.as_json([summary]))[0]["official"]["overall"]["value"] == 50.0
    assert "| overall | 50.0 [" in tables.markdown([summary])
    assert "50.0 [" in tables.console([summary])


def test_the_page_needs_nothing_else_and_shows_what_the_model_saw(tmp_path):
    numbered_video(tmp_path / "a.mp4", VideoRecipe(num_frames=30))

    finished = run([0.0, None, 1.0], folder=tmp_path, media=(Medium(path="a.mp4"),))
    document = page.page([(finished, summarise(finished))])
    assert (
        document.count("data:image/jpeg;base64,") == 1
    )  # of the wrong one; there is nothing to show of the failed one
    assert "MediaError: broken &lt;b&gt;" in document and "B &amp; more" in document
    assert "http" not in document.replace("http-equiv", "")


def test_two_runs_are_compared_item_by_item():
    comparison = compare(run([0.0, 1.0, None, 1.0]), run([1.0, 0.0, 1.0, 1.0], style="thinking"))
    assert [(change.id, change.before, change.after) for change in comparison.changes] == [
        ("0", 0.0, 1.0),
        ("1", 1.0, 0.0),
        ("2", 0.0, 1.0),
    ]
    assert comparison.difference == pytest.approx(25.0) and comparison.settings == ("style",)
    assert "2 better, 1 worse" in text(comparison) and "MediaError: broken" in text(comparison)
    with pytest.raises(DataError, match="did not ask the same items"):
        compare(run([1.0]), run([1.0, 1.0]))


def test_reports_are_written_from_the_folder_of_a_run(tmp_path):
    annotations = tmp_path / "toy.txt"
    annotations.write_text("a-0 a-1 b-0")
    folder = tmp_path / "out" / "toy" / "abc"
    folder.mkdir(parents=True)
    (tmp_path / "plug.py").write_text("from tests.unit.eval.world import TOY\n")
    manifest = run([]).manifest | {"video": _fields(SPEC), "image": _fields(run([]).sight.image_spec)}
    where = {
        "benchmark": f"{tmp_path}/plug.py:TOY",
        "annotations": str(annotations),
        "media": str(tmp_path),
        "cache": str(tmp_path / "cache"),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "where.json").write_text(json.dumps(where))
    with pytest.raises(DataError, match="no results yet"):
        read_run(folder)
    outcomes = [Outcome(id=name, response="B", official=Grade(score=1.0, parsed="B")) for name in ("a-0", "a-1", "b-0")]
    write_results(folder / "results.jsonl", outcomes)
    assert find_runs(tmp_path) == [folder]
    shown = write_reports(tmp_path / "reports", [read_run(folder)])
    assert "Toy" in shown and "100.0" in shown
    assert {path.name for path in (tmp_path / "reports").iterdir()} == {
        f"report.{end}" for end in ("md", "csv", "json", "html")
    }
    write_results(folder / "results.jsonl", outcomes[:2])
    with pytest.raises(DataError, match="are not those of"):
        read_run(folder)


def _fields(spec):
    return {name: getattr(spec, name) for name in spec.__slots__}


def test_reports_say_what_was_seen_and_who_judged():
    finished = run([1.0, "?", 0.0])
    judged = [replace(one, judged=True, judge=name) for one, name in zip(finished.outcomes, "xyx", strict=True)]
    summary = summarise(replace(finished, outcomes=tuple(judged)))
    assert summary.seen == "2 fps, 4 frames of 4096 px" and summary.judges == {"x": 2, "y": 1}
    pages = [tables.markdown([summary]), page.page([(finished, summary)])]
    assert all(summary.seen in one and "Judged by x (2), y (1)." in one and "/models/tiny" in one for one in pages)
    assert summary.seen in tables.console([summary]) and summary.seen in tables.comma_separated([summary])
    assert json.loads(tables.as_json([summary]))[0]["judges"] == {"x": 2, "y": 1}
    blind = replace(finished, manifest=finished.manifest | {"blind": True})
    assert summarise(blind).seen == "nothing" and summarise(blind).judges == {}
    assert finished.name == "tiny (official)"
    cached = {"model": {"path": "/hub/models--Qwen--Tiny/snapshots/0a1b", "files": {}}}
    assert replace(finished, manifest=finished.manifest | cached).name == "Qwen--Tiny (official)"


def test_what_our_tasks_cannot_grade_is_no_part_of_the_robust_score():
    finished = run([1.0, 0.0, None, 1.0, None])
    kinds = ["multiple choice", "multiple choice", "multiple choice", "graded text", "graded text"]
    items = tuple(replace(one, problem_type=kind) for one, kind in zip(finished.items, kinds, strict=True))
    outcomes = (*finished.outcomes[:3], replace(finished.outcomes[3], robust=None), finished.outcomes[4])
    robust = summarise(replace(finished, items=items, outcomes=outcomes)).robust["overall"]
    assert (robust.n, robust.value) == (3, pytest.approx(200 / 3))
