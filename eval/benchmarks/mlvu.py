# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""MLVU (arXiv 2406.04264): the multiple-choice tasks of its dev set (4 options) and of its test set (6 options)."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate
from pathlib import PurePosixPath

from eval.aggregate import macro_accuracy
from eval.annotations import FILE, first_of, text_answer
from eval.benchmark import register
from eval.choices import CONVERTED, Choices, Columns, Fields, Words, by_letter, multiple_choice
from eval.extraction import before_bracket
from verl.data.files import Row
from verl.errors import DataError

PREFIXES = {"needle": "needle", "surveil": "anomaly_reco", "count": "count", "ego": "ego", "order": "order"}
PLOT_ROWS = 1652  # of EasyVideoR1's dev file: behind them stand those of topic_reasoning, before them all others
TEST_BLOCKS = {  # so many rows of a task stand together in EasyVideoR1's test file, in this order
    "anomaly_reco": 39,
    "sportsQA": 36,
    "order": 70,
    "needleQA": 60,
    "plotQA": 50,
    "topic_reasoning": 91,
    "ego": 53,
    "tutorialQA": 43,
    "count": 60,
}
GENERATION = ("subPlot", "sub_scene", "summary")  # tasks without options


def dev_task(fields: Fields) -> list[str]:
    """The task of a row of EasyVideoR1's dev file, by the name of its video, or by its number, which counts from 1."""
    prefix = PurePosixPath(str(fields["path"])).stem.split("_")[0]
    return [PREFIXES.get(prefix) or ("plotQA" if int(fields["problem_id"]) <= PLOT_ROWS else "topic_reasoning")]


def test_task(fields: Fields) -> list[str]:
    """The task of a row of EasyVideoR1's test file, by its number, which counts from 1."""
    place = bisect_right(list(accumulate(TEST_BLOCKS.values())), int(fields["problem_id"]) - 1)
    return [list(TEST_BLOCKS)[place]] if place < len(TEST_BLOCKS) else []


def with_options(row: Row) -> list[Row]:
    """The row with the path of its video, if it is of a task with options. Raises DataError where it has none."""
    if "path" in row.fields:
        return [row]
    if row.fields.get("question_type") in GENERATION:
        return []
    if not first_of(row, "candidates"):
        raise DataError(f"{row.where}: there are no options in 'candidates'")
    path = f"{media_folder(row)}/{first_of(row, 'video')}"
    return [Row(where=row.where, fields={**row.fields, "video_path": path})]


def media_folder(row: Row) -> str:
    """Where the video of an official row is: each task of the dev set has a folder, the test set has one for all."""
    stem = str(row.fields[FILE])
    return f"video/{stem}" if stem[:1].isdigit() else "video"


DEV = Columns(
    id="{annotation_file}-{annotation_row}",
    video="{video_path}",
    options="candidates",
    are_labelled=False,
    truth=text_answer,
    labels={"task": "question_type"},
)

MLVU_DEV = Choices(
    name="mlvu_dev",
    title="MLVU dev",
    source="https://huggingface.co/datasets/MLVU/MVLU",
    num_items=2175,
    columns=(replace(CONVERTED, labels={"task": dev_task}), DEV),
    rows=with_options,
    words=Words(
        system="Carefully watch this video and pay attention to every detail. Based on your observations, select the"
        " best option that accurately addresses the question.",
        user="Question: {question}\nOptions:\n{options}\nOnly give the best option.",
        option="({letter}) {text}",
        prefix="Best Option: (",
    ),
    official=by_letter(before_bracket),
    aggregate=macro_accuracy("M-Avg", "task"),
    breakdowns=("task",),
)

register(multiple_choice(MLVU_DEV))
register(
    multiple_choice(
        replace(
            MLVU_DEV,
            name="mlvu_test",
            title="MLVU test",
            source="https://huggingface.co/datasets/MLVU/MLVU_Test",
            num_items=502,
            columns=(replace(CONVERTED, labels={"task": test_task}), replace(DEV, id="{question_id}"), DEV),
        )
    )
)
