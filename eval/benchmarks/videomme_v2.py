# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Video-MME-v2: 800 groups of four questions with eight options, each scored as a whole; without and with subtitles.

The score of a group is not linear. In a group of type relevance the right answers count, in one of type logic those up
to the first wrong one, where the structure of the group allows one exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

from eval.aggregate import accuracy, groups
from eval.benchmark import Budget, register
from eval.choices import Choices, Columns, Fields, Subtitles, Words, by_letter, multiple_choice
from eval.extraction import VIDEO_MME_V2_LEADS, first_capital
from eval.item import Graded, Number
from eval.subtitles import file_of_video, read_words
from verl.data.files import Row
from verl.errors import DataError

SIZE = 4  # questions of a group


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """How a group is scored: by how many answers count, in parts of the last value."""

    parts: tuple[int, ...]
    exception: tuple[int, int] | None = None  # when so many count, a right answer at that place counts too


RELEVANCE = Chain(parts=(0, 1, 4, 9, 16))
LOGIC = {
    "[1,2,3,4]": RELEVANCE,
    "[1,[2,3],4]": Chain(parts=(0, 1, 4, 7, 12), exception=(1, 2)),
    "[[1,2],3,4]": Chain(parts=(0, 1, 2, 5, 10), exception=(0, 1)),
}


def group_score(kind: str, structure: str, scores: Sequence[float]) -> float:
    """The score of a group in percent, from 0 or 1 for each of its questions. Raises DataError for an unknown type."""
    right = [score > 0 for score in scores]
    if kind == "relevance":
        return 100 * RELEVANCE.parts[sum(right)] / RELEVANCE.parts[-1]
    chain = LOGIC.get(structure.replace(" ", ""))
    if kind != "logic" or chain is None:
        raise DataError(f"Video-MME-v2 has no group of type {kind!r} with structure {structure!r}")
    counted = right.index(False) if False in right else SIZE
    if chain.exception and counted == chain.exception[0] and right[chain.exception[1]]:
        counted += 1
    return 100 * chain.parts[counted] / chain.parts[-1]


def place(fields: Fields) -> int:
    """Which question of its group a row is, from 1; 0 when its id does not say."""
    number = str(fields.get("question_id")).rpartition("-")[2]
    return int(number) if number.isdecimal() and "-" in str(fields.get("question_id")) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group and its score."""

    score: float
    kind: str
    right: int
    last: Fields  # the annotation of its last question, whose labels are those of the group

    @classmethod
    def of(cls, rows: Sequence[Graded]) -> Group:
        """What is missing of a group counts as wrong."""
        by_place = {place(row.item.fields): row for row in rows}
        scores = [by_place[n].grade.score or 0.0 if n in by_place else 0.0 for n in range(1, SIZE + 1)]
        last = by_place[max(by_place)].item.fields
        kind = str(last["group_type"])
        score = group_score(kind, str(last["group_structure"]), scores)
        return cls(score=score, kind=kind, right=sum(score > 0 for score in scores), last=last)


def figures(rows: Sequence[Graded]) -> dict[str, Number]:
    """The mean over groups, by type, by what the last question of a group is about, and plain accuracy."""
    scored = [Group.of(members) for members in groups(rows, lambda item: str(item.fields["video_id"]))]
    found = {"group score": _mean(scored)} | accuracy(rows)
    for kind in ("relevance", "logic"):
        found |= _named(f"type/{kind}", [one for one in scored if one.kind == kind])
    for label in ("level", "second_head", "third_head"):
        for category in dict.fromkeys(str(one.last.get(label)) for one in scored):
            if category not in ("None", ""):
                found |= _named(f"{label}/{category}", [one for one in scored if str(one.last.get(label)) == category])
    return found


def _mean(scored: Sequence[Group]) -> Number:
    return Number(value=fmean(one.score for one in scored) if scored else 0.0, n=len(scored))


def _named(name: str, scored: Sequence[Group]) -> dict[str, Number]:
    return {name: _mean(scored)} if scored else {}


def grouped(row: Row) -> list[Row]:
    """The row, if it has a place in a group that can be scored. Raises DataError."""
    kind, structure = str(row.fields.get("group_type")), str(row.fields.get("group_structure"))
    try:
        group_score(kind, structure, [0.0] * SIZE)
    except DataError as error:
        raise DataError(f"{row.where}: {error}") from None
    if not 1 <= place(row.fields) <= SIZE:
        raise DataError(f"{row.where}: question_id {row.fields.get('question_id')!r} does not end in -1 to -{SIZE}")
    return [row]


QUESTION = (
    "Question: {question}\n{options}\nSelect the best answer to the following multiple-choice question based on the"
    " video. Respond with only the letter ({letters}) of the correct option."
)
SPOKEN = "These are the frames of a video. This video's subtitles are listed below:\n{subtitles}\n"
VIDEO_MME_V2 = Choices(
    name="videomme_v2",
    title="Video-MME-v2",
    source="https://huggingface.co/datasets/MME-Benchmarks/Video-MME-v2",
    num_items=3200,
    columns=(Columns(id="{question_id}", video="videos/{video_id}.mp4"),),
    rows=grouped,
    words=Words(user=f"These are the frames of a video.{QUESTION}"),
    official=by_letter(partial(first_capital, letters="ABCDEFGH", leads=VIDEO_MME_V2_LEADS)),
    aggregate=figures,
    budget=Budget(fps=32.0, max_frames=64),  # as many of a short video too
)


register(multiple_choice(VIDEO_MME_V2))
register(
    multiple_choice(
        replace(
            VIDEO_MME_V2,
            name="videomme_v2_subtitles",
            title="Video-MME-v2 with subtitles",
            words=Words(user=QUESTION, subtitles=SPOKEN, silent=SPOKEN.format(subtitles="")),
            subtitles=Subtitles(
                read=file_of_video(read_words, ".jsonl", "video_id"),
                show=lambda subtitles, times: " ".join(one.text for one in subtitles),
            ),
            folder="videomme_v2",
        )
    )
)
