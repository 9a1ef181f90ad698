# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Video-MME (arXiv 2405.21075): 2,700 questions about 900 videos of three lengths; without and with subtitles."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from eval.benchmark import register
from eval.choices import CONVERTED, Choices, Columns, Subtitles, Words, by_letter, multiple_choice
from eval.extraction import VIDEO_MME_LEADS, first_capital
from eval.subtitles import file_of_video, read_srt

LABELS = {"duration": "duration", "domain": "domain", "sub_category": "sub_category", "task_type": "task_type"}

VIDEO_MME = Choices(
    name="videomme",
    title="Video-MME",
    source="https://huggingface.co/datasets/lmms-lab/Video-MME",
    num_items=2700,
    columns=(Columns(id="{question_id}", video="videos/{videoID}.mp4", labels=LABELS), CONVERTED),
    words=Words(
        user="Select the best answer to the following multiple-choice question based on the video. Respond with only"
        " the letter ({letters}) of the correct option.\n{question}\n{options}\nThe best answer is:"
    ),
    official=by_letter(partial(first_capital, letters="ABCD", leads=VIDEO_MME_LEADS)),
    breakdowns=tuple(LABELS),
)


register(multiple_choice(VIDEO_MME))
register(
    multiple_choice(
        replace(
            VIDEO_MME,
            name="videomme_subtitles",
            title="Video-MME with subtitles",
            columns=VIDEO_MME.columns[:1],
            subtitles=Subtitles(read=file_of_video(read_srt, ".srt", "videoID")),
            folder="videomme",
        )
    )
)
