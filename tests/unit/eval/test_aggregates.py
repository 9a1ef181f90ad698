# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from eval.aggregate import accuracy, groups, macro_accuracy
from eval.benchmark import BENCHMARKS
from eval.benchmarks.videomme_v2 import group_score
from eval.item import EvalItem, Grade, Graded
from eval.statistics import intervals
from verl.errors import DataError
from verl.scoring.text import normalize

KNOWN = json.loads((Path(__file__).parents[2] / "vectors" / "eval_aggregates.json").read_text())


def row(number, score, *, video="a.mp4", labels=None, **fields) -> Graded:
    item = EvalItem(
        id=str(number),
        video=video,
        media=(),
        question="Q?",
        answer="A",
        problem_type="multiple choice",
        options=("a", "b", "c"),
        labels={name: (value,) for name, value in (labels or {}).items()},
        fields=fields,
    )
    return Graded(item=item, grade=Grade(score=float(score), parsed=None))


def test_the_score_of_a_group_is_the_published_one():
    found = [group_score(case["type"], case["structure"], case["scores"]) for case in KNOWN["videomme_v2_groups"]]
    assert found == pytest.approx([case["score"] for case in KNOWN["videomme_v2_groups"]])


@pytest.mark.parametrize(("kind", "structure"), [("logic", "[1,2,[3,4]]"), ("story", "None")])
def test_an_unknown_group_is_an_error(kind, structure):
    with pytest.raises(DataError, match="no group"):
        group_score(kind, structure, [1, 1, 1, 1])


def v2_rows(scores, kind="logic", structure="[1, 2, 3, 4]", video="001", **more):
    return [
        row(
            f"{video}-{n}",
            score,
            video=video,
            video_id=video,
            question_id=f"{video}-{n}",
            group_type=kind,
            group_structure=structure,
            **more,
        )
        for n, score in enumerate(scores, 1)
        if score is not None
    ]


def test_groups_are_rated_as_published():
    example = KNOWN["videomme_v2_rating"]
    rows = []
    for place, given in enumerate(example["rows"]):
        video, n = f"{place // 4:03d}", place % 4 + 1
        fields = {name: value for name, value in given.items() if name != "score"}
        rows.append(row(place, given["score"], video=video, video_id=video, question_id=f"{video}-{n}", **fields))
    found = BENCHMARKS["videomme_v2"].aggregate(rows)
    wanted = example["off_v2"]
    rating = wanted["final_rating"]
    assert found["group score"].value == pytest.approx(rating["total"])
    assert found["type/relevance"].value == pytest.approx(rating["relevance_score"])
    assert found["type/logic"].value == pytest.approx(rating["logic_score"])
    for label in ("second_head", "third_head"):
        for name, value in wanted[f"{label}_rating"].items():
            assert found[f"{label}/{name}"].value == pytest.approx(value)


def test_a_missing_question_of_a_group_is_wrong():
    figures = BENCHMARKS["videomme_v2"].aggregate(v2_rows([1, 1, None, 1]))
    assert figures["group score"].value == 25.0


def test_a_group_that_is_drawn_twice_is_two_groups():
    rows = v2_rows([1, 1, 1, 1]) + v2_rows([1, 0, 0, 0], video="002")
    assert [len(one) for one in groups(rows[:4] * 2 + rows[4:], lambda item: item.video)] == [4, 4, 4]
    bounds = intervals(rows, BENCHMARKS["videomme_v2"].aggregate, resamples=50)["group score"]
    assert (bounds.low, bounds.high) == (6.25, 100.0)


def test_a_binary_question_is_right_when_all_its_pairs_are():
    known = KNOWN["videomathqa"]
    rows = [
        row(
            n, one["pred_answer"] == one["answer"], labels={"category": one["category"]}, question_id=one["question_id"]
        )
        for n, one in enumerate(known["rows"])
    ]
    figures = BENCHMARKS["videomathqa_mbin"].aggregate(rows)
    assert figures["MBin"].value == pytest.approx(known["mbin"]) and figures["MBin"].n == 3
    assert figures["category/Chart"].value == pytest.approx(known["mbin"])
    assert figures["accuracy"].value == pytest.approx(known["pairs"])
    assert next(iter(figures)) == "MBin"


def mlvu_rows():
    counts = KNOWN["mlvu"]["counts"].items()
    return [row(f"{task}{n}", n < right, labels={"task": task}) for task, (right, all) in counts for n in range(all)]


def test_mlvu_is_a_mean_over_tasks():
    figures = BENCHMARKS["mlvu_dev"].aggregate(mlvu_rows())
    assert list(figures) == ["M-Avg", "accuracy"]
    assert figures["M-Avg"].value == pytest.approx(KNOWN["mlvu"]["macro"])
    assert figures["accuracy"].value == pytest.approx(KNOWN["mlvu"]["micro"])


def test_there_is_no_mean_over_tasks_when_an_item_has_none():
    rows = mlvu_rows()
    rows[0] = replace(rows[0], item=replace(rows[0].item, labels={}))
    assert list(macro_accuracy("M-Avg", "task")(rows)) == ["accuracy"]


def test_unparsed_answers_stay_in_the_denominator():
    known = KNOWN["videomme"]
    rows = [row(n, one["pred_answer"] == one["answer"]) for n, one in enumerate(known["rows"])]
    assert BENCHMARKS["videomme"].aggregate(rows)["accuracy"].value == pytest.approx(known["accuracy"])
    rows = [row(n, one["score"]) for n, one in enumerate(KNOWN["mvbench"])]
    assert accuracy(rows)["accuracy"].value == 50.0  # 66.7 in the framework that leaves the empty one out


@pytest.mark.parametrize("case", KNOWN["odvbench"], ids=lambda case: case["response"])
def test_odvbench_reads_letters_as_published(case):
    item = replace(row(1, 0).item, options=tuple(case["candidates"]), answer="A")
    assert BENCHMARKS["odvbench"].official(item, case["response"]).score == case["score"]


# The script tries math-verify too, which reads numbers; every true answer of the benchmark is a letter.
@pytest.mark.parametrize("case", [one for one in KNOWN["longvideoreason"] if one["gold"].isalpha()])
def test_longvideoreason_compares_what_stands_in_the_tag(case):
    item = replace(row(1, 0).item, answer=case["gold"])
    assert BENCHMARKS["longvideoreason"].official(item, case["response"]).score == case["score"]


def test_livesports_counts_first_letters_by_type():
    questions = [one for video in KNOWN["livesports3k"]["input"] for one in video["questions"]]
    grade = BENCHMARKS["livesports3k"].official
    items = [replace(row(n, 0).item, answer=one["answer"]) for n, one in enumerate(questions)]
    scores = [grade(item, one["response"]).score for item, one in zip(items, questions, strict=True)]
    assert [sum(scores), len(scores)] == KNOWN["livesports3k"]["right"]["overall"]


@pytest.mark.parametrize("case", KNOWN["mmvu_rule"], ids=lambda case: f"{case['gold']}: {case['response']}")
def test_mmvu_accepts_nothing_by_a_rule_that_is_not_the_answer(case):
    is_open = case["question_type"] == "open-ended"
    options = tuple((case["choices"] or {}).values())
    item = replace(row(1, 0).item, answer=case["gold"], options=options)
    if is_open:
        item = replace(item, problem_type="open-ended")
    same = normalize(case["response"]).casefold() == normalize(case["gold"]).casefold()
    undecided = None if is_open and case["response"] else 0.0
    assert BENCHMARKS["mmvu_all"].official(item, case["response"]).score == (1.0 if same else undecided)


def test_mmvu_reads_the_published_form_of_an_open_answer():
    item = replace(row(1, 0).item, answer="Dolly Zoom", options=(), problem_type="open-ended")
    for response in (
        "Therefore, the final answer is: Answer: dolly zoom.",
        "So. Therefore, the final answer is: Dolly Zoom",
    ):
        assert BENCHMARKS["mmvu_all"].official(item, response).score == 1.0
