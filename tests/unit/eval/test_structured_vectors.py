# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks that are more than a choice, against what the published scripts return."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from eval import mmmu, simulators
from eval.benchmark import BENCHMARKS
from eval.benchmarks import charades_sta, ovobench, tempcompass, vcrbench, videommmu, videoreasonbench, vsibench
from eval.item import EvalItem, Graded, Medium
from eval.overlap import hc_stvg, span_iou, st_align, vidstg
from verl.scoring.boxes import box_iou

VECTORS = Path(__file__).parents[2] / "vectors"
NUMBERS, GROUNDING, CASES = (
    json.loads((VECTORS / f"eval_{name}.json").read_text()) for name in ("numbers", "grounding", "structured")
)
OPTIONS = {name: tuple(one[3:] for one in options) for name, options in CASES["options"].items()}


def asked(answer, problem_type="multiple choice", **fields) -> EvalItem:
    given = {"media": (Medium(path="v.mp4"),), "question": "Q?"} | fields
    return EvalItem(id="1", video="v.mp4", answer=answer, problem_type=problem_type, **given)


def graded(benchmark, item: EvalItem, response: str) -> Graded:
    return Graded(item=item, grade=BENCHMARKS[benchmark].official(item, response))


@pytest.mark.parametrize(("number", "truth", "wanted"), NUMBERS["mra"])
def test_mean_relative_accuracy(number, truth, wanted):
    if isinstance(wanted, dict):  # the script divides by zero
        wanted = float(number == truth)
    assert vsibench.mean_relative_accuracy(number, truth) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(("response", "truth", "number", "wanted"), NUMBERS["vsi_numeric"])
def test_vsi_numbers(response, truth, number, wanted):
    grade = vsibench.grade(asked(truth, "regression"), response)
    assert grade.score == pytest.approx(wanted, abs=1e-9)
    assert (None if grade.parsed is None else float(grade.parsed)) == number


@pytest.mark.parametrize(("response", "truth", "wanted"), NUMBERS["vsi_choice"])
def test_vsi_letters(response, truth, wanted):
    assert vsibench.grade(asked(truth), response).score == wanted


def test_vsi_overall_counts_directions_as_one_task():
    def row(fields):
        kind = fields["question_type"]
        problem_type = "regression" if kind in vsibench.NUMERIC else "multiple choice"
        return graded(
            "vsibench", asked(fields["ground_truth"], problem_type, labels={"type": (kind,)}), fields["prediction"]
        )

    found = vsibench.figures([row(fields) for fields in NUMBERS["vsi_aggregate"]["rows"]])
    for name, wanted in NUMBERS["vsi_aggregate"]["out"].items():
        name = re.sub(r"_(MRA:.*|accuracy)$", "", name)
        assert found[name].value == pytest.approx(wanted, abs=1e-8), name
    assert found["overall"].n == 8


@pytest.mark.parametrize(("response", "truth", "parsed", "wanted"), NUMBERS["videommmu_open"])
def test_video_mmmu_open_answers(response, truth, parsed, wanted):
    values = mmmu.said_values(response)
    assert sorted(map(str, values)) == ([] if parsed == "API Error" else sorted(map(str, parsed)))
    assert mmmu.same_value(values, truth) == wanted
    item = asked(truth, "numerical", fields={"is_choice": False})
    assert videommmu.grade(item, response).score == wanted


@pytest.mark.parametrize(("before", "after", "wanted"), NUMBERS["knowledge_gain"])
def test_knowledge_gain(before, after, wanted):
    assert videommmu.knowledge_gain(before, after) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("options", "truth", "response", "wanted"), CASES["choices"])
def test_letters_of_four_scripts(options, truth, response, wanted):
    item = asked(truth, options=OPTIONS[options], labels={"task": ("EPM",)})
    assert vsibench.grade(item, response).score == wanted["off_vsibench"]
    assert ovobench.grade(item, response).score == wanted["off_ovobench_br"]
    letter = mmmu.said_letter(response, OPTIONS[options])
    assert (letter or "none") == (wanted["off_videommmu"] if len(wanted["off_videommmu"]) == 1 else "none")
    lines = CASES["options"][options]
    answer = next(line for line in lines if line.startswith(truth))
    choice = asked("", labels={"kind": ("multi-choice",)}, fields={"question": "", "answer": answer})
    score = tempcompass.grade(choice, response).score
    assert ("NEEDS_LLM" if score is None else score) == wanted["off_tempcompass_mc"] or not response.strip()


@pytest.mark.parametrize(("kind", "question", "answer", "response", "wanted"), CASES["tempcompass"])
def test_tempcompass_rules_and_what_they_leave_to_a_judge(kind, question, answer, response, wanted):
    item = asked("", labels={"kind": (kind,)}, fields={"question": question, "answer": answer})
    grade = tempcompass.grade(item, response)
    assert grade.score == (wanted if wanted is not None or response.strip() else 0.0)


@pytest.mark.parametrize(("task", "truth", "response", "wanted"), CASES["ovobench"])
def test_ovo_bench(task, truth, response, wanted):
    answer = {"REC": str(truth), "SSR": ("No", "Yes")[truth == 1], "CRR": ("No", "Yes")[truth == 1]}.get(task, truth)
    assert ovobench.grade(asked(answer, labels={"task": (task,)}), response).score == wanted


def test_ovo_bench_is_the_mean_of_three_categories():
    def rows(given):
        for entry in (*given["backward"], *given["realtime"]):
            yield asked(entry["ground_truth"], labels={"task": (entry["task"],)}), entry["response"]
        for entry in given["forward"]:
            for moment in entry["test_info"]:
                truth = str(moment["count"]) if "count" in moment else ("No", "Yes")[moment["type"]]
                yield asked(truth, labels={"task": (entry["task"],)}), moment["response"]

    found = ovobench.figures([graded("ovobench", *row) for row in rows(CASES["ovobench_aggregate"]["input"])])
    names = {
        "Backward Avg.": "backward",
        "Realtime Avg.": "realtime",
        "Forward Avg.": "forward",
        "Total Avg.": "overall",
    }
    printed = CASES["ovobench_aggregate"]["off_ovobench_printed"]
    assert {names.get(name, name): value for name, value in printed.items()} == {
        name: pytest.approx(number.value, abs=0.0051) for name, number in found.items()
    }


@pytest.mark.parametrize(("truth", "answer", "wanted"), CASES["vcrbench"])
def test_vcr_bench_times_and_boxes(truth, answer, wanted):
    assert vcrbench.compare(truth, answer) == (None if wanted == "JUDGE" else float(wanted))


@pytest.mark.parametrize(("response", "wanted"), CASES["final_answer"])
def test_final_answers(response, wanted):
    assert videoreasonbench.final_answer(response) == (wanted or None)


@pytest.mark.parametrize("case", CASES["simulators"], ids=lambda case: f"{case['fn']} {case.get('move', '')}")
def test_simulators_step(case):
    board = tuple(map(tuple, case["board"])) if "board" in case else ()
    if case["fn"] == "get_next_board_hrd":
        found = simulators.slide(board, case["move"])
        assert [[list(line) for line in found or board], found is not None] == case["out"]
    elif case["fn"] == "get_next_board_grid":
        move = next(
            name for name, (x, y) in simulators.STEPS.items() if case["move"] == (f"x{x:+d}" if x else f"y{y:+d}")
        )
        found = simulators.step(board, tuple(case["coord"]), move)
        assert found is not None
        assert [[list(line) for line in found[0]], list(found[1])] == case["out"]
    elif case["fn"] == "get_next_board_cup":
        assert [list(line) for line in simulators.swap_cups(board, *case["move"])] == case["out"]
    else:
        files = {path: frozenset(held["init"]) for path, held in case["states"].items()}
        found = simulators.run_commands(files, case["commands"])
        assert found is not None and sorted(found[case["tgt"]]) == sorted(case["out"])


QUESTION = next(case["question"] for case in CASES["operations"] if case["fn"] == "extract_tgt_board_hrd")


@pytest.mark.parametrize("case", [case for case in CASES["operations"] if case["fn"] == "eval_op_hrd"])
def test_moves_reach_the_board_that_is_asked_for(case):
    answer = ", ".join(case["moves"] or ())
    found = simulators.reached("hrd", QUESTION, {"state": case["board"]}, answer)
    assert (found.published, found.asked) == (case["out"], case["out"])


@pytest.mark.parametrize(("ours", "theirs", "wanted"), GROUNDING["tiou"])
def test_span_iou(ours, theirs, wanted):
    assert span_iou(ours, theirs) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(("ours", "theirs", "wanted"), GROUNDING["box_iou"])
def test_box_iou_is_that_of_the_reward(ours, theirs, wanted):
    assert box_iou(ours, theirs) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(("response", "wanted"), GROUNDING["time"])
def test_times_are_read(response, wanted):
    found = charades_sta.read_time(response)
    assert (None if found is None else list(found)) == wanted
    grade = charades_sta.grade(asked({"time": [24.296875, 30.40625]}), response)
    assert grade.score == (pytest.approx(span_iou(wanted, [24.296875, 30.40625])) if wanted else 0)
    assert (grade.parsed is None) == (wanted is None)


def test_recalls_count_the_threshold_itself():
    item = asked({"time": [0.0, 1.0]})
    rows = [graded("charades_sta", item, f"0 - {iou}") for iou in GROUNDING["recalls"]["ious"]]
    found, wanted = charades_sta.figures(rows), GROUNDING["recalls"]["out"]
    names = {"IOU@3": "R@1 IoU=0.3", "IOU@5": "R@1 IoU=0.5", "IOU@7": "R@1 IoU=0.7", "mIOU": "mIoU"}
    assert {name: found[ours].value for name, ours in names.items()} == pytest.approx(wanted)


@pytest.mark.parametrize("case", GROUNDING["hc_stvg"], ids=lambda case: case["name"])
def test_tubes_of_hc_stvg(case):
    ours, theirs, wanted = case["pred"], case["gold"], case["out"]
    if ours.get("time") is None:
        assert wanted["mvIoU"] == 0  # the script has no such prediction
        return
    found = hc_stvg(ours["boxes"], theirs["boxes"], ours["time"], theirs["time"])
    assert (found.viou, found.tiou) == (pytest.approx(wanted["mvIoU"]), pytest.approx(wanted["mtIoU"]))
    assert [float(found.viou > at) for at in (0.3, 0.5)] == [wanted["vIoU@0.3"], wanted["vIoU@0.5"]]


@pytest.mark.parametrize("case", GROUNDING["st_align"], ids=lambda case: case["name"])
def test_tubes_of_st_align(case):
    tube, (start, end) = case["pred_boxes"], case["gt_span_idx"]
    ours = dict.fromkeys(range(tube["t0"], tube["t1"] + 1), tube["box"])
    found = st_align(ours, dict.fromkeys(range(start, end + 1), case["gt_box"]))
    assert (found.siou, found.viou) == (pytest.approx(case["out"]["msiou"]), pytest.approx(case["out"]["mstiou"]))
    for at in (0.3, 0.5, 0.7):
        assert 100 * float(found.viou >= at) == case["out"][f"viou@{at}"]


@pytest.mark.parametrize("case", GROUNDING["vidstg"], ids=lambda case: case["name"])
def test_tubes_of_vidstg(case):
    x, y, width, height = case["gt_box_xywh"]
    frames, shift = range(*case["frames"]), case["box_dx"]
    theirs = dict.fromkeys(frames, (x, y, x + width, y + height))
    ours = dict.fromkeys(frames, (x + shift, y, x + shift + width, y + height))
    found = vidstg(ours, theirs, case["pred_sted"], case["gt_sted"])
    assert (found.tiou, found.viou) == (pytest.approx(case["out"]["tiou"]), pytest.approx(case["out"]["viou"]))
    assert [int(found.viou > at) for at in (0.3, 0.5)] == [case["out"]["viou@0.3"], case["out"]["viou@0.5"]]
