# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Video-Holmes (arXiv 2505.21374): 1,837 questions that take several clues of a short film."""

from __future__ import annotations

from eval.benchmark import register
from eval.choices import CONVERTED, Choices, Columns, Words, by_letter, multiple_choice
from eval.extraction import tagged_letter

register(
    multiple_choice(
        Choices(
            name="videoholmes",
            title="Video-Holmes",
            source="https://huggingface.co/datasets/TencentARC/Video-Holmes",
            num_items=1837,
            files="test_*",
            columns=(
                Columns(
                    id="{Question ID}",
                    video="videos_cropped/{video ID}.mp4",
                    question="Question",
                    options="Options",
                    answer="Answer",
                    labels={"question_type": "Question Type"},
                ),
                CONVERTED,
            ),
            words=Words(
                user="Based on the given video, reason and answer the single-choice question. Provide your reasoning"
                " between the <think> and </think> tags, and then give your final answer between the <answer> and"
                " </answer> tags. The question is: {question}. The options are: {options}. Your answer:",
                option="{letter}: {text}",
                between=", ",
            ),
            official=by_letter(tagged_letter),
            breakdowns=("question_type",),
            max_tokens={"official": 1024},
        )
    )
)
