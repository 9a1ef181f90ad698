# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Official figures of benchmarks that are more than a mean, from responses to numbers worked out on paper."""

from __future__ import annotations

import json

import pytest

from eval.aggregate import breakdown
from eval.benchmark import BENCHMARKS
from eval.benchmarks import videommmu
from eval.item import WRONG, EvalItem, Grade, Graded, Medium
from eval.runner import read_items


def item(id, answer, problem_type="multiple choice", options=("a", "b", "c", "d"), **more) -> EvalItem:
    labels = {name: (value,) for name, value in more.pop("labels", {}).items()}
    return EvalItem(
        id=str(id),
        video=more.pop("video", "v.mp4"),
        media=more.pop("media", (Medium(path="v.mp4"),)),
        question=more.pop("question", "Q?"),
        answer=answer,
        problem_type=problem_type,
        options=options,
        labels=labels,
        fields=more.pop("fields", more),
    )


def figures(name, *answered: tuple[EvalItem, str | None]) -> dict[str, float]:
    """The figures of items and responses; None for an item that failed."""
    benchmark = BENCHMARKS[name]
    rows = [
        Graded(item=one, grade=WRONG if response is None else benchmark.official(one, response))
        for one, response in answered
    ]
    found = {**benchmark.aggregate(rows), **breakdown(rows, *benchmark.breakdowns)}
    return {name: round(number.value, 4) for name, number in found.items()}


def test_vsi_bench():
    def number(id, task, truth):
        return item(id, truth, "regression", (), labels={"type": task})

    def choice(id, task, truth):
        return item(id, truth, labels={"type": task})

    found = figures(
        "vsibench",
        (number(1, "object_counting", "4"), "3"),  # error .25: within .5 to .25, 6 of 10 thresholds
        (number(2, "object_counting", "4"), "4 tables"),  # 1
        (number(3, "room_size_estimation", "20"), "30.1 m"),  # error .505: none
        (number(4, "object_abs_distance", "2.0"), "About 2"),  # no number as first word
        (choice(5, "object_rel_direction_easy", "A"), "A. left"),
        (choice(6, "object_rel_direction_easy", "B"), "b"),
        (choice(7, "object_rel_direction_hard", "B"), "The answer is B"),  # wrong by its first word
        (choice(8, "object_rel_direction_medium", "C"), None),
        (choice(9, "route_planning", "D"), "D."),
    )
    # directions: mean of 100, 0, 0; overall: counting 80, room 0, distance 0, directions 33.33, route 100
    assert (found["object_counting"], found["object_rel_direction"]) == (80.0, 33.3333)
    assert found["overall"] == pytest.approx((80 + 0 + 0 + 100 / 3 + 100) / 5, abs=1e-4)
    assert (found["accuracy"], found["mean relative accuracy"]) == (60.0, 40.0)


def test_ovo_bench():
    def asked(id, task, truth):
        return item(id, truth, labels={"task": task})

    found = figures(
        "ovobench",
        (asked(1, "EPM", "B"), "B. x"),
        (asked(2, "EPM", "A"), "B"),
        (asked(3, "ASI", "C"), "C"),  # backward: mean of 50 and 100
        (asked(4, "OCR", "A"), "An apple, so B"),  # its letter is in it: right by the script
        (asked(5, "ATR", "B"), None),  # real time: mean of 100 and 0
        (asked(6, "REC", "12"), "1 or 2"),  # digits in a row: 12
        (asked(7, "REC", "2"), "2 times in 30 s"),  # 230
        (asked(8, "SSR", "Yes"), "Y"),
        (asked(9, "SSR", "No"), "Not sure"),  # holds "No"
        (asked(10, "CRR", "Yes"), "yes"),  # case counts
    )
    assert [found[name] for name in ("backward", "realtime", "forward")] == [75.0, 50.0, 50.0]  # 50, 100 and 0
    assert found["overall"] == pytest.approx((75 + 50 + 50) / 3, abs=1e-4)


def test_video_mme_v2():
    def group(video, kind, structure, level):
        return [
            item(
                f"{video}-{n}",
                "H",
                options=tuple("abcdefgh"),
                video=video,
                fields={
                    "video_id": video,
                    "question_id": f"{video}-{n}",
                    "group_type": kind,
                    "group_structure": structure,
                    "level": level if n == 4 else "of another question",
                },
            )
            for n in range(1, 5)
        ]

    plain, chain = group("1", "relevance", "[1,2,3,4]", "1"), group("2", "logic", "[1,[2,3],4]", "2")
    first, straight = group("3", "logic", "[[1,2],3,4]", "2"), group("4", "logic", "[1,2,3,4]", "1")
    right, wrong = "Final Answer: H", "A"
    found = figures(
        "videomme_v2",
        *zip(plain, (right, wrong, right, right), strict=True),  # 3 of 4: 9/16
        *zip(chain, (right, wrong, right, right), strict=True),  # one, and the third for the second: 4/12
        *zip(first, (wrong, right, right, right), strict=True),  # the second for the first, then it ends: 1/10
        *zip(straight, (right, right, None, right), strict=True),  # two: 4/16
    )
    assert found["group score"] == pytest.approx(100 * (9 / 16 + 4 / 12 + 1 / 10 + 4 / 16) / 4, abs=1e-4)
    assert found["type/logic"] == pytest.approx(100 * (4 / 12 + 1 / 10 + 4 / 16) / 3, abs=1e-4)
    assert found["level/1"] == pytest.approx(100 * (9 / 16 + 4 / 16) / 2, abs=1e-4)
    assert found["accuracy"] == 75.0


def test_video_math_qa():
    def pair(question, n, category):
        return item(f"{question}{n}", "A", options=("1", "2"), labels={"category": category}, question_id=question)

    found = figures(
        "videomathqa_mbin",
        *[(pair("x", n, "Chart"), "A") for n in range(4)],
        *[(pair("y", n, "Chart"), "A" if n else "B") for n in range(4)],
        *[(pair("z", n, "Puzzle"), "The Answer: A") for n in range(3)],
        (pair("z", 3, "Puzzle"), None),
    )
    # the first capital from A to E in "The Answer: A" is that of "Answer"
    assert found["MBin"] == pytest.approx(100 / 3, abs=1e-4) and found["accuracy"] == pytest.approx(1000 / 12, abs=1e-4)
    assert (found["category/Chart"], found["category/Puzzle"]) == (50.0, 0.0)


def test_video_mmmu():
    def asked(id, track, answer, options=("x", "y", "z"), **more):
        fields = {"is_choice": bool(options)}
        return item(id, answer, options=options, labels={"track": track, "discipline": "Art", **more}, fields=fields)

    found = figures(
        "videommmu",
        (asked(1, "Perception", "B"), "B"),
        (asked(2, "Perception", "A"), "I would say (A)"),
        (asked(3, "Comprehension", "C"), "API Error"),  # stays in the denominator
        (asked(4, "Comprehension", "C"), "C."),
        (asked(5, "Comprehension", "B"), "C."),
        (asked(6, "Adaptation", "3.14159", ()), "So the result is 3.142."),  # 3.14 to two decimals
        (asked(7, "Adaptation", "2.5", ()), None),
        (asked(8, "Adaptation", "2.5", ()), "It is 2.6"),
        (asked(9, "Adaptation", "1,200", ()), "x = 1200"),
    )
    assert [found[track] for track in videommmu.TRACKS] == [100.0, 33.3333, 50.0]
    assert found["overall"] == pytest.approx((100 + 100 / 3 + 50) / 3, abs=1e-4)  # and not 5 of 9

    rows = [(asked(n, "Adaptation", "A", shown="video"), "A" if n < 3 else "B") for n in range(4)]
    rows += [
        (asked(f"{n}q", "Adaptation", "A", shown=videommmu.QUESTION_ONLY), "A" if n < 2 else "B") for n in range(4)
    ]
    # from 50 to 75: half of what was wrong
    assert figures("videommmu_gain", *rows)["knowledge gain"] == 50.0


def test_tempcompass():
    def asked(id, kind, aspect, question, answer):
        labels = {"kind": kind, "aspect": aspect}
        return item(id, answer[:1], labels=labels, fields={"question": question, "answer": answer})

    options = "Which?\nA. up\nB. down"
    captions = "Which?\nOption 1: It rises.\nOption 2: It falls."
    found = figures(
        "tempcompass",
        (asked(1, "multi-choice", "direction", options, "A. up"), "A"),
        (asked(2, "multi-choice", "direction", options, "A. up"), "B. down"),
        (asked(3, "multi-choice", "speed", options, "B. down"), "B) down"),
        (asked(4, "yes_no", "speed", "Up?", "no"), "Not really"),  # begins with "no"
        (asked(5, "yes_no", "speed", "Up?", "yes"), None),
        (asked(6, "caption_matching", "order", captions, "Option 1: It rises."), "It rises."),
        (asked(7, "captioning", "order", "Describe.", "x"), "It rises."),  # for a judge: wrong until then
    )
    assert [found[kind] for kind in ("multi-choice", "yes_no", "caption_matching", "captioning")] == [
        66.6667, 50.0, 100.0, 0.0,
    ]  # fmt: skip
    assert found["mean of kinds"] == pytest.approx((200 / 3 + 50 + 100 + 0) / 4, abs=1e-4)
    assert (found["multi-choice/direction"], found["yes_no/speed"]) == (50.0, 50.0)


def test_lvbench_counts_a_question_in_each_of_its_types(tmp_path):
    types = [["reasoning"], ["reasoning", "summarization"], ["summarization"], ["entity recognition"]]
    asked = [
        {"uid": str(n), "question": "Q?\n(A) x\n(B) y", "answer": "B", "question_type": kinds}
        for n, kinds in enumerate(types)
    ]
    (tmp_path / "video_info.meta.jsonl").write_text(json.dumps({"key": "k", "type": "live", "qa": asked}))
    items = read_items(BENCHMARKS["lvbench"], tmp_path)
    responses = ("(B) y", "B", None, "The answer is B")  # the last one is read as T
    found = figures("lvbench", *zip(items, responses, strict=True))
    assert found["accuracy"] == 50.0 and found["video_type/live"] == 50.0
    assert [found[f"question_type/{name}"] for name in ("reasoning", "summarization", "entity recognition")] == [
        100.0, 50.0, 0.0,
    ]  # fmt: skip


def test_charades_sta():
    def event(id, start, end):
        return item(id, {"time": [start, end]}, "temporal grounding", ())

    found = figures(
        "charades_sta",
        (event(1, 10.0, 20.0), "The event happens in 10 - 20 seconds"),  # 1
        (event(2, 10.0, 20.0), "The event happens in 15 - 25 seconds"),  # 5 of 15
        (event(3, 10.0, 20.0), "The event happens in 10 - 15 seconds"),  # .5 itself
        (event(4, 10.0, 20.0), "20 - 10"),  # put in order
        (event(5, 0.0, 10.0), "from 7 to 20"),  # 3 of 20
        (event(6, 0.0, 10.0), None),
    )
    assert found["mIoU"] == pytest.approx(100 * (1 + 1 / 3 + 0.5 + 1 + 0.15 + 0) / 6, abs=1e-4)
    recalls = [found[f"R@1 IoU={at}"] for at in (0.3, 0.5, 0.7)]
    assert recalls == [pytest.approx(400 / 6, abs=1e-4), 50.0, pytest.approx(200 / 6, abs=1e-4)]


def test_st_align_and_the_other_scripts_on_one_answer():
    truth = {"time": [10, 14], "boxes": {str(at): [0, 0, 10, 10] for at in range(10, 15)}}
    asked = item(1, truth, "spatial-temporal grounding", ())
    answer = {"time": [12, 19], "boxes": {str(at): [5, 0, 15, 10] for at in range(12, 20)}}
    found = figures("stvg", (asked, json.dumps(answer)), (asked, None))
    # one box is 1/3 of both; three seconds are shared of ten; the end second is not in a tube of VidSTG: still 3 of 10
    assert found["m_sIoU"] == pytest.approx(100 / 3 / 2, abs=1e-4)
    assert found["m_vIoU"] == pytest.approx(100 * (3 / 3) / 10 / 2, abs=1e-4) == found["HC-STVG m_vIoU"]
    assert found["VidSTG m_vIoU"] == pytest.approx(5.0) and found["vIoU@0.3"] == 0
    assert found["m_tIoU"] == pytest.approx(100 * 2 / 9 / 2, abs=1e-4)  # 2 of 9 seconds


def test_vcr_bench():
    def asked(id, answer, options=(), **labels):
        return item(id, answer, "multiple choice" if options else "open-ended", options, labels=labels)

    found = figures(
        "vcrbench",
        (asked(1, "B", ("x", "y"), dimension="d"), "Thus the answer is B."),
        (asked(2, "[90, 150]", dimension="t", duration="0-60 s"), "[90, 133]"),  # 43 of 60: above .7
        (asked(3, "[90, 150]", dimension="t", duration="0-60 s"), "1:30 to 2:12"),  # 42 of 60: not above
        (asked(4, "[10, 10, 50, 50]", dimension="d"), "[10, 10, 50, 30]"),  # .5: not above
        (asked(5, "a red car", dimension="d"), "A red car."),  # the same words
        (asked(6, "a red car", dimension="d"), "a crimson vehicle"),  # for a judge
    )
    assert found["accuracy"] == 50.0 and found["multiple choice"] == 100.0 and found["open"] == 40.0
    assert (found["dimension/t"], found["dimension/d"], found["duration/0-60 s"]) == (50.0, 50.0, 50.0)


def test_generation_of_mlvu():
    def graded(id, task, *grades):
        names = {
            "sub-scene captioning": ("score_accuracy", "score_relevance"),
            "video summary": ("score_completeness", "score_reliability"),
        }
        grade = Grade(score=0.5, parsed="x", parts=dict(zip(names[task], grades, strict=True))) if grades else WRONG
        return Graded(item=item(id, "", labels={"task": task}), grade=grade)

    rows = [graded(1, "sub-scene captioning", 3.5, 5), graded(2, "sub-scene captioning")]
    rows += [graded(3, "video summary", 2, 4)]
    found = {name: number.value for name, number in BENCHMARKS["mlvu_dev_generation"].aggregate(rows).items()}
    # scenes: accuracy (3.5 + 1) / 2, relevance (5 + 1) / 2; the failed one has the lowest grades
    assert found["sub-scene captioning (2 to 10)"] == 2.25 + 3 and found["video summary (2 to 10)"] == 6
    assert found["G-Avg (2 to 10)"] == (5.25 + 6) / 2
