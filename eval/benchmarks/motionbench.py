# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""MotionBench (arXiv 2501.02955): 4,018 questions about small motions, those with public answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from eval.annotations import nested
from eval.benchmark import register
from eval.choices import CONVERTED, Choices, Columns, Words, by_letter, multiple_choice
from eval.extraction import polished
from verl.data.files import Row


def answered(row: Row) -> Iterator[Row]:
    """The questions about a video whose answers are public."""
    return (one for one in nested(row) if one.fields.get("answer") != "NA")


register(
    multiple_choice(
        Choices(
            name="motionbench",
            title="MotionBench",
            source="https://huggingface.co/datasets/zai-org/MotionBench",
            num_items=4018,
            columns=(
                Columns(id="{uid}", video="{video_path}", options=None, labels={"question_type": "question_type"}),
                replace(CONVERTED, labels={"question_type": "original_question_type"}),
            ),
            # No prompt is published: the question, which has its options in it, and a request for a letter.
            words=Words(user="{question}\n{options}\nAnswer with only the option letter ({letters})."),
            official=by_letter(polished),
            rows=answered,
            breakdowns=("question_type",),
        )
    )
)
