# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""LongVideo-Reason (arXiv 2507.07966): 851 questions about 842 long videos.

In 156 rows of EasyVideoR1's file options are out of order, doubled or empty: label "options" tells them apart.
"""

from __future__ import annotations

from dataclasses import replace

from eval.annotations import are_in_order
from eval.benchmark import register
from eval.choices import CONVERTED, Choices, Columns, Fields, Words, by_letter, multiple_choice
from eval.extraction import in_tags


def state(fields: Fields) -> list[str]:
    """Whether options were taken out of the question well."""
    return ["in order" if are_in_order(fields.get("options") or ()) else "repaired"]


register(
    multiple_choice(
        Choices(
            name="longvideoreason",
            title="LongVideo-Reason",
            source="https://huggingface.co/datasets/LongVideo-Reason/longvideo-reason",
            num_items=851,
            files="*test*",
            columns=(
                replace(CONVERTED, labels={"options": state}),
                Columns(id="{annotation_file}-{annotation_row}", video="{videos}", question="problem", options=None),
            ),
            words=Words(
                user="{question}\n{options}\nGive your reasoning in <think> </think> tags and then the letter of your"
                " answer in <answer> </answer> tags."
            ),
            # The script tries math-verify first, which can find nothing in a letter.
            official=by_letter(in_tags),
            breakdowns=("options",),
            max_tokens={"official": 4096},
        )
    )
)
