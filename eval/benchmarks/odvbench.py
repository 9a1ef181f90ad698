# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""ODV-Bench (arXiv 2509.24871): 7,896 questions of drivers about excerpts of their drive."""

from __future__ import annotations

from eval.annotations import text_answer
from eval.benchmark import register
from eval.choices import CONVERTED, Choices, Columns, Words, by_letter, multiple_choice
from eval.extraction import letter_alone

LABELS = {"task": "task", "subtask": "subtask", "subsubtask": "subsubtask"}

register(
    multiple_choice(
        Choices(
            name="odvbench",
            title="ODV-Bench",
            source="https://huggingface.co/datasets/MCG-NJU/ODV-Bench",
            num_items=7896,
            columns=(
                Columns(
                    id="{annotation_file}-{annotation_row}",
                    video="{video}",
                    options="candidates",
                    are_labelled=False,
                    truth=text_answer,
                    labels=LABELS,
                ),
                CONVERTED,
            ),
            words=Words(user="{question}\n{options}\nAnswer with the option's letter from the given choices directly."),
            official=by_letter(letter_alone),
            breakdowns=tuple(LABELS),
        )
    )
)
