# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.benchmark import BENCHMARKS, STYLES
from eval.benchmarks import vcrbench, videommmu
from eval.benchmarks.tempcompass import KINDS
from eval.grading import robust_grade
from eval.item import WRONG, EvalItem, Graded
from eval.runner import read_items
from tests.unit.eval.annotated import IMAGE, ROWS, VECTORS, VIDEO, items_of
from verl.errors import DataError

CASES = json.loads((VECTORS / "eval_structured.json").read_text())
CONVERTED = {
    **{name: name for name in ("charades_sta", "stvg", "vcrbench", "videoreasonbench", "vsibench", "ovobench")},
    **{name: "stvg" for name in ("stvg_1000", "stvg_1")},
    "ovobench_chunked": "ovobench",
    "videommmu": "videommmu_with_image",
    "videommlu": "videommlu",
}


def right_answer(item: EvalItem) -> str:
    """What a perfect model would write; of a time, its seconds."""
    if item.problem_type == "temporal grounding":
        return f"{item.answer['time'][0]} - {item.answer['time'][1]}"
    if item.problem_type.startswith("spatial"):
        return json.dumps(item.answer)
    return f"Final Answer: {item.answer}" if "Final Answer" in item.question else str(item.answer)


@pytest.mark.parametrize(("name", "file"), CONVERTED.items())
def test_every_converted_row_is_read_worded_and_graded(tmp_path, name, file):
    benchmark, items = BENCHMARKS[name], items_of(name, tmp_path, ROWS[file])
    assert len(items) == len(ROWS[file]) and len({item.id for item in items}) == len(items)
    for item in items:
        media = [VIDEO if one.kind == "video" else IMAGE for one in item.media]
        assert item.media and not item.video.startswith((".", "/")) and "<answer>" not in str(item.answer)
        for style in STYLES:
            words = benchmark.ask[style](item, media)
            assert words.user.startswith("<video>") and words.user.count("<video>") == 1
            assert words.user.count("<image>") == len(item.media) - 1
            assert words.user.count("Options") <= 1 and item.question.split("\n")[0].rstrip(". ") in words.user
        assert benchmark.official(item, "") == WRONG or benchmark.official(item, "").score == 0
    units = {"stvg_1000": 1000, "stvg_1": 1}
    if name in units:
        return
    rows = [Graded(item=item, grade=benchmark.official(item, right_answer(item))) for item in items if item.answer]
    assert all(row.grade.score == pytest.approx(1, abs=1e-3) for row in rows)
    headline = next(iter(benchmark.aggregate(rows).values()))
    assert headline.value == pytest.approx(100, abs=0.05)
    nothing = benchmark.aggregate([replace(row, grade=WRONG) for row in rows])
    assert (
        set(number.value for number in nothing.values()) == {0.0} and benchmark.aggregate(rows).keys() == nothing.keys()
    )


def test_robust_grades_agree_on_right_answers(tmp_path):
    for name in ("vsibench", "ovobench", "charades_sta", "stvg"):
        for item in items_of(name, tmp_path, ROWS[CONVERTED[name]]):
            grade = robust_grade(item, f"<answer>{right_answer(item)}</answer>")
            assert grade is not None and grade.score == pytest.approx(1, abs=1e-3), (name, item)


def test_published_prompts_are_kept_word_for_word(tmp_path):
    wanted, told = CASES["prompts"], {}

    def official(name, item):
        return BENCHMARKS[name].ask["official"](item, [VIDEO]).user.removeprefix("<video>")

    (vsi, *_) = items_of("vsibench", tmp_path, ROWS["vsibench"])
    told["vsibench_na"] = official("vsibench", replace(vsi, question="How many chairs?", options=()))
    told["vsibench_mca"] = official("vsibench", replace(vsi, question="Q?", options=("a", "b")))
    (item, *_) = items_of("charades_sta", tmp_path, ROWS["charades_sta"])
    told["charades_sta"] = official("charades_sta", replace(item, question="person turn a light on."))
    for task, question in (
        ("EPM", "Q?"),
        ("REC", "How many times did they jump?"),
        ("SSR", "cut"),
        ("CRR", "Q?"),
    ):
        options = ("a", "b") if task == "EPM" else ()
        asked = replace(item, labels={"task": (task,)}, question=question, options=options)
        told[f"ovo_{task.lower()}"] = official("ovobench", asked)
    fields = {"is_choice": True}
    for track, question in (("Perception", "Q?"), ("Adaptation", "<image 1> Q?")):
        asked = replace(item, labels={"track": (track,)}, question=question, options=("a", "b"), fields=fields)
        name = "videommmu_perception" if track == "Perception" else "videommmu_adaptation_mc"
        told[name] = official("videommmu", asked)
    assert {name: text for name, text in told.items() if wanted[name] != text} == {}
    asked = replace(item, question="How many times did they jump?")
    ending = CASES["stvg_prompt"].partition("JSON within")[2]
    assert official("stvg", asked).partition("JSON within")[2] == ending


def test_whole_videos_of_ovo_bench_end_when_the_question_is_asked(tmp_path):
    rows = [
        {
            "id": 7,
            "task": "OCR",
            "video": "a/b.mp4",
            "realtime": 12.5,
            "question": "Q?",
            "options": ["x", "y"],
            "gt": 1,
        },
        {
            "id": 8,
            "task": "REC",
            "video": "c.mp4",
            "activity": "jump",
            "test_info": [{"realtime": 3, "count": 0}, {"realtime": 9, "count": 2}],
        },
        {
            "id": 9,
            "task": "SSR",
            "video": "c.mp4",
            "test_info": [{"realtime": 3, "type": 0, "step": "cut"}],
        },
        {
            "id": 10,
            "task": "CRR",
            "video": "c.mp4",
            "question": "Who?",
            "test_info": [{"realtime": 4, "type": 1}],
        },
    ]
    whole = items_of("ovobench", tmp_path, rows)
    assert [(item.id, item.answer, item.media[0].path, item.media[0].end) for item in whole] == [
        ("7", "B", "a/b.mp4", 12.5),
        ("8_0", "0", "c.mp4", 3.0),
        ("8_1", "2", "c.mp4", 9.0),
        ("9_0", "No", "c.mp4", 3.0),
        ("10_0", "Yes", "c.mp4", 4.0),
    ]
    assert whole[1].question == "How many times did they jump?" and whole[3].question == "cut"
    chunked = items_of("ovobench_chunked", tmp_path, rows)
    assert [item.media[0].path for item in chunked] == ["7.mp4", "8_0.mp4", "8_1.mp4", "9_0.mp4", "10_0.mp4"]
    assert {item.media[0].end for item in chunked} == {None}
    with pytest.raises(DataError, match="'XYZ' is no task of OVO-Bench"):
        items_of("ovobench", tmp_path, [{"id": 1, "task": "XYZ"}])


def test_charades_lines_and_rows(tmp_path):
    lines = "3MSZA 24.3 30.4##person turn a light on.\n3MSZA 24.3 30.4##person turn a light on.\n"
    first, second = items_of("charades_sta", tmp_path, lines, "charades_sta_test.txt")
    assert (first.video, first.question, first.answer) == (
        "3MSZA.mp4",
        "person turn a light on.",
        {"time": [24.3, 30.4]},
    )
    assert first.id != second.id  # lmms-eval would count the two as one
    (item,) = items_of("charades_sta", tmp_path, [{"video": "a.mp4", "caption": "c", "timestamp": [1.0, 2.5]}])
    assert (item.media[0].path, item.answer) == ("a.mp4", {"time": [1.0, 2.5]})
    with pytest.raises(DataError, match="VIDEO START END##sentence"):
        items_of("charades_sta", tmp_path, "3MSZA 24.3##x\n", "a.txt")


def test_video_mmmu_tracks_images_and_gain(tmp_path):
    items = items_of("videommmu", tmp_path, ROWS["videommmu_with_image"])
    assert {item.labels["track"] for item in items} == {(track,) for track in videommmu.TRACKS}
    for item in items:
        assert (len(item.media) == 2) == (item.labels["track"] == ("Adaptation",))
        assert item.media[-1].kind == ("image" if len(item.media) == 2 else "video")
    gain = items_of("videommmu_gain", tmp_path, ROWS["videommmu_with_image"])
    shown = [item for item in gain if item.labels["shown"] == ("video",)]
    assert len(gain) == 2 * len(shown) == 2 * sum(item.labels["track"] == ("Adaptation",) for item in items)
    assert all([one.kind for one in item.media] == ["image"] for item in gain[len(shown) :])
    rows = [
        Graded(item=item, grade=videommmu.grade(item, str(item.answer) + " ")) if item in shown[1:] or item is gain[-1]
        else Graded(item=item, grade=WRONG)
        for item in gain
    ]  # fmt: skip
    found = videommmu.gain_figures(rows)
    before, after = 100 / len(shown), 100 * (len(shown) - 1) / len(shown)
    assert found["question only"].value == pytest.approx(before) and found["Adaptation"].value == pytest.approx(after)
    assert found["knowledge gain"].value == pytest.approx(100 * (after - before) / (100 - before))
    for track in videommmu.TRACKS:
        folder = tmp_path / "hub" / track
        folder.mkdir(parents=True)
        row = {"id": "validation_Math_15", "question": "Q?", "options": ["1", "2"], "answer": "B"}
        row |= {"question_type": "multiple-choice"} | ({"image": {"bytes": b"x"}} if track == "Adaptation" else {})
        pq.write_table(pa.Table.from_pylist([row]), folder / f"{track}-test-00000-of-00001.parquet")
    official = read_items(BENCHMARKS["videommmu"], tmp_path / "hub")
    assert [item.id.split("/")[0] for item in official] == ["Adaptation", "Comprehension", "Perception"]
    assert [one.path for one in official[0].media] == [
        "Science/validation_Math_15.mp4",
        "images/validation_Math_15.png",
    ]


CHOICE = "What is happening?\nA. inflating\nB. exploding"
MATCHING = "Which caption matches the video better?\nCaption A: It inflates.\nCaption B: It explodes."
HUB = [
    {"video_id": "1", "question": CHOICE, "answer": "B. exploding", "dim": "action"},
    {"video_id": "1", "question": "Does it explode?", "answer": "yes", "dim": "action"},
    {"video_id": "1", "question": MATCHING, "answer": "Caption B: It explodes.", "dim": "action"},
    {
        "video_id": "1",
        "question": "Describe it.",
        "answer": "It explodes.",
        "dim": "action",
        "mc_question": CHOICE,
        "mc_answer": "B. exploding",
    },
]


def test_tempcompass_from_the_hub_and_from_its_authors(tmp_path):
    hub = items_of("tempcompass", tmp_path, HUB)
    for row, kind in zip(HUB, KINDS, strict=True):
        path = tmp_path / "authors" / f"{kind}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"1": {"action": [{key: row[key] for key in ("question", "answer")}]}}))
    authors = read_items(BENCHMARKS["tempcompass"], tmp_path / "authors")
    assert {item.labels["kind"][0] for item in authors} == set(KINDS) == {item.labels["kind"][0] for item in hub}
    assert {item.id for item in hub} == {item.id for item in authors} == {f"{kind}/1/action" for kind in KINDS}
    for item in (*hub, *authors):
        assert item.media[0].path == "videos/1.mp4" and item.labels["aspect"] == ("action",)
    choice, yes_no, matching, caption = hub
    assert (choice.answer, yes_no.answer, matching.answer) == ("B", "yes", "B")
    assert robust_grade(matching, "<answer>Caption B: It explodes.</answer>").score == 1
    benchmark = BENCHMARKS["tempcompass"]
    assert benchmark.official(caption, "Boom.").score is None
    case = benchmark.judge_case(caption, "Boom.")
    assert (case.question, case.references, case.response) == (CHOICE, ("B. exploding",), "Boom.")
    assert benchmark.judge_case(choice, "the second").references == ("B. exploding",)
    said = zip(hub, ("B", "no", "B", ""), strict=True)
    rows = [Graded(item=item, grade=benchmark.official(item, text)) for item, text in said]
    found = benchmark.aggregate(rows)
    assert [found[kind].value for kind in KINDS] == [100, 0, 100, 0] and found["mean of kinds"].value == 50
    assert found["multi-choice/action"].value == 100
    with pytest.raises(DataError, match=r"multi-choice\.json"):
        items_of("tempcompass", tmp_path, {"1": {"action": [{"question": "Describe.", "answer": "x"}]}})


def test_vcr_bench_asks_a_judge_only_where_reading_cannot_decide(tmp_path):
    row = {
        "id": 1,
        "video_path": "video/a.mp4",
        "duration": 61,
        "dimension": "Video Temporal Counting",
        "question": "How many?",
        "multiple-choice": True,
        "choices": {"A": "one", "B": "two"},
        "answer": "B",
        "reasoning": [],
    }
    time = row | {"id": 2, "multiple-choice": False, "choices": {}, "answer": "[90, 150]", "duration": 400}
    choice, span = items_of("vcrbench", tmp_path, [row, time])
    benchmark = BENCHMARKS["vcrbench"]
    assert choice.labels == {"dimension": ("Video Temporal Counting",), "duration": ("60-300 s",)}
    scores = [benchmark.official(choice, text).score for text in ("B", "A. one", "(B) two", "a pair", "")]
    assert scores == [1, 0, 1, None, 0]
    spoken = ("[90, 150]", "1:30 to 2:30", "Answer: [90, 133]", "[90, 132]", "from the start on", "")
    assert [benchmark.official(span, text).score for text in spoken] == [1, 1, 1, 0, None, 0]
    assert benchmark.judge_case(choice, "a pair").references == ("B. two",)
    inside = row | {"question": "How many?A. one\nB. two\n"}
    (asked,) = items_of("vcrbench", tmp_path / "inside", [inside])
    users = [benchmark.ask["official"](one, []).user for one in (choice, asked)]
    assert users == ["<video>How many?\nA. one\nB. two", "<video>How many?A. one\nB. two"]


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("[10, 10, 50, 50]", 1.0),
        ("[10,+10, 050,50]", 1.0),
        ("[10, 10, 50, 30]", 0.0),
        ("[10.0, 10, 50, 50]", None),
        ("[1e999, 10, 50, 50]", None),
        (f"[10, 10, 50, {10**320}]", 0.0),
        ("[50, 50, 10, 10]", 0.0),
    ],
)
def test_boxes_of_vcr_bench_are_whole_numbers_and_no_number_is_too_large(answer, wanted):
    assert vcrbench.compare("[10, 10, 50, 50]", answer) == wanted
    assert vcrbench.compare("[90, 150]", f"[0, {10**320}]") == vcrbench.compare("[90, 150]", "[90, 1e999]") == 0.0


@pytest.mark.parametrize(
    ("name", "row", "complaint"),
    [
        ("vsibench", {"problem_id": 1, "original_question_type": "smell"}, "'smell' is no question type"),
        ("vsibench", {"id": 1, "question_type": "object_counting", "dataset": "a"}, "no column 'scene_name'"),
        ("stvg", {"solution": '{"time": [1, 2], "boxes": {"1": [3, 3, 1, 1]}}'}, "not one span of time and boxes"),
        ("videommmu", {"problem_id": 901, "path": "dev_Math_1.mp4", "solution": "A"}, "not from 1 to 900"),
        ("videommmu", {"id": "dev_Magic_1"}, "no subject of Video-MMMU"),
        ("vcrbench", {"id": 1, "question": "Q?", "video_path": "v"}, "no column 'solution' or 'answer'"),
        ("videoreasonbench", {"path": "grid/v.mp4", "problem": "Q?"}, "there is no answer"),
        ("tempcompass", {"question": "Q?"}, "no column 'video_id'"),
    ],
)
def test_bad_rows_are_named(tmp_path, name, row, complaint):
    with pytest.raises(DataError, match=f"rows.json row 0.*{complaint}"):
        items_of(name, tmp_path, [row])


def test_the_folders_of_the_hub_tell_the_tracks_of_video_mmmu(tmp_path):
    row = {"id": "dev_Biology_3", "question": "What?", "options": "['a', 'b']", "answer": "A"}
    for track in videommmu.TRACKS:
        file = tmp_path / "annotations" / track / "test-00000-of-00001.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps([row | {"question_type": "multiple-choice"}]))
    items = read_items(BENCHMARKS["videommmu"], tmp_path / "annotations")
    assert {item.labels["track"][0]: item.options for item in items} == dict.fromkeys(videommmu.TRACKS, ("a", "b"))
