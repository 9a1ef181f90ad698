# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""LiveSports-3K QA (arXiv 2504.16030): 1,174 questions about single events of sports videos."""

from __future__ import annotations

from dataclasses import replace

from eval.benchmark import register
from eval.choices import CONVERTED, Choices, Columns, Fields, Words, by_letter, multiple_choice


def on_screen(fields: Fields) -> list[str]:
    """Whether text on the screen gives the answer."""
    return ["yes" if int(fields.get("OCR", fields.get("ocr_livesports", 0))) else "no"]


OFFICIAL = Columns(
    id="{video_id}_{question_id}",
    video="{video_id}.mp4",
    start="begin",
    labels={"question_type": "q_type", "OCR": on_screen},
)

register(
    multiple_choice(
        Choices(
            name="livesports3k",
            title="LiveSports-3K QA",
            source="https://huggingface.co/datasets/stdKonjac/LiveSports-3K",
            num_items=1174,
            files="*[qQ][aA]*",  # there is a file of captions beside it
            columns=(OFFICIAL, replace(CONVERTED, labels={"question_type": "q_type_livesports", "OCR": on_screen})),
            words=Words(
                user="{question}\n{options}\nPlease select the correct answer.",
                option="{letter}: {text}",
                prefix="Answer:",
            ),
            # The script takes the likelier of the letters as the next token; greedy text begins with the likeliest,
            # and a space before it belongs to the token.
            official=by_letter(lambda response: response.removeprefix(" ")[:1]),
            breakdowns=tuple(OFFICIAL.labels),
            max_tokens={"official": 16},
        )
    )
)
