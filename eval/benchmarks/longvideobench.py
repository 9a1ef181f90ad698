# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""LongVideoBench (arXiv 2407.15754): 1,337 questions of its validation set; without and with subtitles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.resources.abc import Traversable

from eval.annotations import index_answer
from eval.benchmark import register
from eval.choices import CONVERTED, Choices, Columns, Fields, Subtitles, Words, by_letter, multiple_choice
from eval.extraction import LONG_VIDEO_BENCH_LEADS, first_capital
from eval.item import Subtitle
from eval.subtitles import between_frames, read_long_video_bench, with_times
from verl.errors import DataError

LABELS = {
    "duration_group": "duration_group",
    "question_category": "question_category",
    "level": "level",
    "topic_category": "topic_category",
}
OFFICIAL = Columns(
    id="{id}",
    video="videos/{video_path}",
    options="candidates",
    are_labelled=False,
    answer="correct_choice",
    truth=index_answer,
    labels=LABELS,
)
PARQUET = replace(OFFICIAL, options=tuple(f"option{number}" for number in range(5)))

LONG_VIDEO_BENCH = Choices(
    name="longvideobench",
    title="LongVideoBench",
    source="https://huggingface.co/datasets/longvideobench/LongVideoBench",
    num_items=1337,
    files="*val*",  # those of the test set have no answers
    columns=(OFFICIAL, PARQUET, CONVERTED),
    words=Words(
        user="Question: {question}\n{options}\nAnswer with the option's letter from the given choices directly.",
        subtitles="{subtitles}\n",
    ),
    official=by_letter(partial(first_capital, letters="ABCDE", leads=LONG_VIDEO_BENCH_LEADS)),
    breakdowns=tuple(LABELS),
)


def heard(folder: Traversable, fields: Fields) -> tuple[Subtitle, ...]:
    """The subtitles of a video, which may be a part of the one they were made for."""
    if lacking := [name for name in ("subtitle_path", "duration") if fields.get(name) in (None, "")]:
        raise DataError(
            f"{fields['id']}: there is no column {' and no '.join(map(repr, lacking))} to find subtitles by"
        )
    file = folder / str(fields["subtitle_path"])
    if not file.is_file():
        raise DataError(f"there is no {file.name} among the subtitles of LongVideoBench; unpack all of them")
    starts_at = float(fields.get("starting_timestamp_for_subtitles") or 0.0)
    return read_long_video_bench(file, starts_at, float(fields["duration"]))


def shown(subtitles: Sequence[Subtitle], times: Sequence[float]) -> str:
    """Those that would stand between the frames, with their times."""
    return with_times([one for _, one in between_frames(subtitles, times)])


register(multiple_choice(LONG_VIDEO_BENCH))
register(
    multiple_choice(
        replace(
            LONG_VIDEO_BENCH,
            name="longvideobench_subtitles",
            title="LongVideoBench with subtitles",
            columns=(OFFICIAL, PARQUET),
            subtitles=Subtitles(read=heard, show=shown),
            folder="longvideobench",
        )
    )
)
