# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""LVBench (arXiv 2406.08035): 1,549 questions about 103 videos of an hour and more."""

from __future__ import annotations

from eval.annotations import nested
from eval.benchmark import register
from eval.choices import CONVERTED, Choices, Columns, Words, by_letter, multiple_choice
from eval.extraction import polished

LABELS = {"question_type": "question_type", "video_type": "type"}

register(
    multiple_choice(
        Choices(
            name="lvbench",
            title="LVBench",
            source="https://huggingface.co/datasets/zai-org/LVBench",
            num_items=1549,
            columns=(Columns(id="{uid}", video="videos/{key}.mp4", options=None, labels=LABELS), CONVERTED),
            # No prompt is published: the question, which has its options in it, and a request for a letter.
            words=Words(
                user="{question}\n{options}\nAnswer the question with the option letter", option="({letter}) {text}"
            ),
            official=by_letter(polished),
            rows=nested,
            breakdowns=tuple(LABELS),  # a question counts in each of its types
        )
    )
)
