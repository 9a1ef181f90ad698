# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""VideoMathQA (arXiv 2506.05349): 420 questions with five options, and the same as four pairs each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from eval.aggregate import accuracy, groups
from eval.benchmark import register
from eval.choices import CONVERTED, Choices, Columns, Fields, Subtitles, Words, by_letter, multiple_choice
from eval.extraction import VIDEO_MATH_LEADS, first_capital
from eval.item import EvalItem, Graded, Number
from eval.subtitles import file_of_video, read_srt

LABELS = {"category": "category", "length": "length"}
PAIR = 2  # options of a binary question

VIDEO_MATH_QA = Choices(
    name="videomathqa",
    title="VideoMathQA MCQ",
    source="https://huggingface.co/datasets/MBZUAI/VideoMathQA",
    num_items=420,
    rows=lambda row: [row] if not is_pair(row.fields) else [],
    columns=(
        Columns(id="{question_id}", video="videos/{videoID}.mp4", labels=LABELS),
        replace(CONVERTED, id="{problem_id}-{mbinary_id}", labels=LABELS),
        replace(CONVERTED, labels=LABELS),
    ),
    words=Words(
        user="Select the best answer to the following multiple-choice question based on the video. Respond with the"
        " letter ({letters}) of the correct option.\n{question}\n{options}\n\nAnswer with the option's letter"
        " ({letters}) from the given choices directly.",
        last=" or ",
    ),
    official=by_letter(partial(first_capital, letters="ABCDE", leads=VIDEO_MATH_LEADS)),
    breakdowns=tuple(LABELS),
)


def is_pair(fields: Fields) -> bool:
    """Whether a row is one of the pairs that a question was taken apart into."""
    return len(fields.get("options") or ()) == PAIR


def question(item: EvalItem) -> str:
    """The question that a pair belongs to."""
    return str(item.fields.get("question_id") or item.fields["problem_id"])


def all_pairs(rows: Sequence[Graded]) -> dict[str, Number]:
    """MBin: a question is right when all of its pairs are. The same by category and length; accuracy of pairs."""
    questions = groups(rows, question)
    figures = {"MBin": share(questions)}
    for label in LABELS:
        for category in dict.fromkeys(name for pairs in questions for name in pairs[0].item.labels.get(label, ())):
            members = [pairs for pairs in questions if category in pairs[0].item.labels.get(label, ())]
            figures[f"{label}/{category}"] = share(members)
    return figures | accuracy(rows)


def share(questions: Sequence[Sequence[Graded]]) -> Number:
    """Questions with all pairs right, in percent."""
    right = sum(all(row.grade.score == 1.0 for row in pairs) for pairs in questions)
    return Number(value=100 * right / len(questions) if questions else 0.0, n=len(questions))


MULTI_BINARY = replace(
    VIDEO_MATH_QA,
    name="videomathqa_mbin",
    title="VideoMathQA multi-binary",
    num_items=1680,
    rows=lambda row: [row] if is_pair(row.fields) else [],
    aggregate=all_pairs,
    breakdowns=(),
    folder="videomathqa",
)
LED_BY_SUBTITLES = replace(
    VIDEO_MATH_QA.words,
    user=VIDEO_MATH_QA.words.user.replace("based on the video.", "based on the video and the subtitles."),
    subtitles="This video's subtitles are listed below: \n{subtitles}\n",
    silent="This video's subtitles are listed below: \nNo subtitles available\n",
)

for _choices in (VIDEO_MATH_QA, MULTI_BINARY):
    register(multiple_choice(_choices))
    register(
        multiple_choice(
            replace(
                _choices,
                name=f"{_choices.name}_subtitles",
                title=f"{_choices.title} with subtitles",
                words=LED_BY_SUBTITLES,
                subtitles=Subtitles(read=file_of_video(read_srt, ".srt", "videoID", "video_id")),
                folder="videomathqa",
            )
        )
    )
