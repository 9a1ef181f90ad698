# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""MINERVA (arXiv 2505.00681): some 1,500 questions that take several skills, with five options."""

from __future__ import annotations

from dataclasses import replace

from eval.annotations import index_answer, text_answer
from eval.benchmark import register
from eval.choices import CONVERTED, Choices, Columns, Fields, Words, by_letter, multiple_choice
from eval.extraction import last_capital


def skills(fields: Fields) -> list[str]:
    """The skills a question takes."""
    listed = str(fields.get("question type") or fields.get("question_type") or "")
    return [skill.strip() for skill in listed.split(",")]


NUMBERED = Columns(
    id="{key}",
    video="{video_id}.mp4",
    options=tuple(f"answer_choice_{number}" for number in range(5)),
    answer="answer_id",
    truth=index_answer,
    labels={"skill": skills, "domain": "split", "category": "category"},
)

register(
    multiple_choice(
        Choices(
            name="minerva",
            title="MINERVA",
            source="https://github.com/google-deepmind/neptune",
            num_items=1515,
            columns=(NUMBERED, replace(NUMBERED, answer="answer", truth=text_answer), CONVERTED),
            # No script is published: prompt and reading are those of lmms-eval, but nothing is guessed.
            words=Words(user="{question}\n{options}\nAnswer with the option's letter from the given choices directly."),
            official=by_letter(last_capital),
            breakdowns=tuple(NUMBERED.labels),
        )
    )
)
