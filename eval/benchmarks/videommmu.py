# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Video-MMMU (arXiv 2501.13826): what is perceived, understood and applied after a lecture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from eval.aggregate import by_label, macro, micro
from eval.annotations import FILE, FOLDER, bare_options, embedded, first_of, letter_answer, read_annotations, unique
from eval.benchmark import Benchmark, register
from eval.choices import letter_list, option_lines
from eval.grading import CHOICE
from eval.item import WRONG, EvalItem, Grade, Graded, Medium, Number
from eval.mmmu import said_letter, said_values, same_value
from eval.wording import asking
from verl.data.files import Row
from verl.errors import DataError
from verl.scoring.answers import unwrap_truth

TRACKS = ("Perception", "Comprehension", "Adaptation")
CONVERTED_TRACKS = ("Adaptation", "Comprehension", "Perception")  # the order of EasyVideoR1's rows, 300 each
QUESTION_ONLY = "question only"
DISCIPLINES: Mapping[str, tuple[str, ...]] = {
    "Art": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Medicine": (
        "Basic_Medical_Science",
        "Clinical_Medicine",
        "Diagnostics_and_Laboratory_Medicine",
        "Pharmacy",
        "Public_Health",
    ),
    "Humanities": ("History", "Literature", "Sociology", "Psychology"),
    "Engineering": (
        "Agriculture",
        "Architecture_and_Engineering",
        "Computer_Science",
        "Electronics",
        "Energy_and_Power",
        "Materials",
        "Mechanical_Engineering",
    ),
}
_SUBJECT = re.compile(r"[^_]+_(.+?)_\d+$")


def grade(item: EvalItem, response: str) -> Grade:
    """By the parsers of MMMU, of which the step that guesses is left out."""
    if item.fields["is_choice"]:
        letter = said_letter(response, item.options)
        return Grade(score=float(letter == item.answer), parsed=letter)
    values = said_values(response)
    if not values:
        return WRONG
    return Grade(score=float(same_value(values, str(item.answer))), parsed="; ".join(sorted(map(str, values))))


def figures(rows: Sequence[Graded]) -> Mapping[str, Number]:
    """The mean of the tracks, and the tracks."""
    found = by_label(rows, "track")
    tracks = {track: micro(found[track]) for track in TRACKS if track in found}
    return {"overall": macro(tracks), **tracks}


def knowledge_gain(before: float, after: float) -> float:
    """How much of what was still wrong the video makes right, in percent; 0 where nothing was wrong."""
    return 100 * (after - before) / (100 - before) if before < 100 else 0.0


def gain_figures(rows: Sequence[Graded]) -> Mapping[str, Number]:
    """The gain in Adaptation, with the accuracies it comes from."""
    shown = by_label(rows, "shown")
    before, after = (micro(shown.get(name, ())) for name in (QUESTION_ONLY, "video"))
    gain = Number(value=knowledge_gain(before.value, after.value), n=after.n)
    return {"knowledge gain": gain, "Adaptation": after, QUESTION_ONLY: before}


def read(path: Path) -> list[EvalItem]:
    """The three parts of the data set, or the rows of EasyVideoR1. The image of an Adaptation question comes last."""
    return list(unique(_item(row) for row in read_annotations(path)))


def read_gain(path: Path) -> list[EvalItem]:
    """The questions of Adaptation twice: after the video, and with their image alone."""
    asked = [item for item in read(path) if item.labels["track"] == ("Adaptation",)]
    seen = [replace(item, labels={**item.labels, "shown": ("video",)}) for item in asked]
    unseen = [
        replace(
            item,
            id=f"{item.id}/{QUESTION_ONLY}",
            media=tuple(one for one in item.media if one.kind == "image"),
            labels={**item.labels, "shown": (QUESTION_ONLY,)},
        )
        for item in asked
    ]
    return seen + unseen


def _item(row: Row) -> EvalItem:
    fields = row.fields
    is_converted = "solution" in fields
    video = PurePosixPath(first_of(row, "path")).as_posix() if is_converted else f"{first_of(row, 'id')}.mp4"
    subject = _SUBJECT.match(Path(video).stem)
    discipline = next((name for name, held in DISCIPLINES.items() if subject and subject[1] in held), None)
    if discipline is None:
        raise DataError(f"{row.where}: {video} names no subject of Video-MMMU")
    track = _track(row)
    options = bare_options(fields["options"], row.where) if fields.get("options") else ()
    kind = str(fields.get("original_question_type", fields.get("question_type")))
    is_choice, truth = kind in ("multiple-choice", "perception"), unwrap_truth(first_of(row, "solution", "answer"))
    image = str(fields["image_path"]) if fields.get("image_path") else _image(row)
    media = [Medium(path=video if is_converted else f"{discipline}/{video}")]
    media += [Medium(path=PurePosixPath(image).as_posix(), kind="image")] if image else []
    return EvalItem(
        id=str(fields["problem_id"]) if is_converted else f"{track}/{fields['id']}",
        video=video,
        media=tuple(media),
        question=str(first_of(row, "problem", "question")),
        answer=letter_answer(truth, options, row.where) if is_choice else str(truth),
        problem_type=CHOICE if options else "numerical",
        options=options,
        labels={"track": (track,), "discipline": (discipline,)},
        fields={"is_choice": is_choice, "kind": kind},
    )


def _track(row: Row) -> str:
    """Of official rows their file or its folder says it; EasyVideoR1 keeps the three tracks in blocks of 300."""
    if "problem_id" in row.fields:
        number = int(row.fields["problem_id"]) - 1
        if not 0 <= number < 900:
            raise DataError(f"{row.where}: problem_id {number + 1} is not from 1 to 900, which tells the track")
        return CONVERTED_TRACKS[number // 300]
    said = [str(row.fields.get(name, "")).lower() for name in ("track", "category", FILE, FOLDER)]
    found = [track for text in said for track in TRACKS if track.lower() in text]
    if found:
        return found[0]
    if "image" in row.fields:
        return "Adaptation"
    raise DataError(
        f"{row.where}: no column 'track', and no track in the name of its file or folder ({', '.join(TRACKS)})"
    )


def _image(row: Row) -> str | None:
    """The file that the image in a row of the data set is to be written to."""
    return f"images/{row.fields['id']}.png" if row.fields.get("image") is not None else None


def images(path: Path) -> Iterator[tuple[str, bytes]]:
    """The images inside the parquet files of Adaptation, and where questions look for them."""
    for row in read_annotations(path):
        content, name = embedded(row), _image(row)
        if content and name:
            yield name, content


def _official(item: EvalItem) -> str:
    asked = f"{item.question}\n{option_lines(item)}" if item.options else item.question
    if item.labels["track"] != ("Adaptation",):
        return f"{asked}\nPlease ignore the Quiz question in last frame of the video."
    kind = "multi-choice" if item.fields["is_choice"] else "open-ended"
    return (
        "You should watch and learn the video content. Then apply what you learned to answer the following"
        f" {kind} question. The image for this question is at the end of the video.\n"
        f"{asked if item.fields['is_choice'] else item.question}"
    )


def _question(item: EvalItem) -> str:
    return f"{item.question}\n{option_lines(item)}" if item.options else item.question


def _form(item: EvalItem) -> str:
    return f"the letter of the best option ({letter_list(item)})" if item.options else "the final answer"


for _name, _title, _read, _figures, _count in (
    ("videommmu", "Video-MMMU", read, figures, 900),
    ("videommmu_gain", "Video-MMMU, knowledge gain", read_gain, gain_figures, 600),
):
    register(
        Benchmark(
            name=_name,
            title=_title,
            source="huggingface.co/datasets/lmms-lab/VideoMMMU",
            read=_read,
            num_items=_count,
            ask=asking(_official, _question, _form),
            official=grade,
            aggregate=_figures,
            breakdowns=("discipline",),
            max_tokens={"official": 1024},
            embedded=images,
        )
    )
