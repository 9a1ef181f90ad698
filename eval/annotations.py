# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Annotation files to rows, and the columns of rows to the parts of a question. Every error names file and row."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from eval.item import EvalItem
from verl.data.files import NO_ROWS, Row, read_rows
from verl.errors import DataError
from verl.scoring.answers import unwrap_truth

SUFFIXES = (".json", ".jsonl", ".parquet", ".txt")
FILE, ROW = "annotation_file", "annotation_row"  # columns that every row has: stem of its file, place in it
FOLDER = "annotation_folder"  # and the name of the folder that its file is in
NO_OPTION = (None, "N/A", "")  # what pads option0 ... option4

_BESIDE = re.compile(r"(?:subtitles?|videos?|images)(?:[_ .-].*)?")  # folders that hold something else
_ON_LINES = re.compile(r"^[ \t]*\(?([A-Z])[.):][ \t]*", re.MULTILINE)
_IN_TEXT = re.compile(r"(?:^|\s)\(?([A-Z])[.):]\s+")
_LABEL = re.compile(r"\(?\s?([A-Z])\s?[.):]\s*")


def read_annotations(path: Path, pattern: str = "*") -> Iterator[Row]:
    """The rows of a file; of a folder, those of its files that fit `pattern`, or of all where none does.

    JSON may be an array, an object with `rows`, or an object of named rows (the name becomes column "key"); JSONL has a
    row on a line, text files a line in column "line". Raises DataError.
    """
    for file in _files(path, pattern):
        for number, row in enumerate(_rows(file)):
            if isinstance(row, DataError):
                raise row
            placed = {FILE: file.stem, FOLDER: file.absolute().parent.name, ROW: number}
            yield Row(where=row.where, fields={**row.fields, **placed})


def annotation_files(path: Path) -> list[Path]:
    """The file, or the files in a folder that may hold annotations: none in a folder of media or of subtitles."""
    if path.is_file():
        return [path]
    return [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix in SUFFIXES
        and file.name not in NO_ROWS
        and not any(_BESIDE.fullmatch(part) for part in file.relative_to(path).parts[:-1])
    ]


def _files(path: Path, pattern: str) -> list[Path]:
    found = annotation_files(path)
    if not found:
        raise DataError(f"{path}: there is no annotation file ({', '.join(SUFFIXES)}) there")
    return found if path.is_file() else [file for file in found if file.match(pattern)] or found


def _rows(file: Path) -> Iterator[Row | DataError]:
    if file.suffix == ".txt":
        return _lines(file)
    if file.suffix == ".json" and (document := _document(file)) is not None:
        return _members(file, document)
    return read_rows(file)


def _lines(file: Path) -> Iterator[Row | DataError]:
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    return (Row(where=f"{file.name}:{n}", fields={"line": line}) for n, line in enumerate(lines, 1) if line.strip())


def _document(file: Path) -> Mapping[str, Any] | None:
    """The one object that is the whole file; None for an array, or for objects on lines."""
    text = file.read_text(encoding="utf-8-sig")
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    holds_rows = isinstance(found.get("rows"), list) or all(isinstance(value, dict) for value in found.values())
    return found if holds_rows else None


def _members(file: Path, document: Mapping[str, Any]) -> Iterator[Row | DataError]:
    rows = document.get("rows")
    named = [(None, row) for row in rows] if isinstance(rows, list) else list(document.items())
    for number, (name, row) in enumerate(named):
        where = f"{file.name} row {number if name is None else name}"
        if not isinstance(row, dict):
            yield DataError(f"{where}: a row must be an object with named columns, this is {str(row)[:80]!r}")
        else:
            yield Row(where=where, fields=row if name is None else {"key": name, **row})


def nested(row: Row, column: str = "qa") -> Iterator[Row]:
    """The questions in a list of a row, each with the columns of the row; the row itself where it has no such list."""
    inner = row.fields.get(column)
    if not isinstance(inner, list):
        yield row
        return
    for number, fields in enumerate(inner):
        if not isinstance(fields, Mapping):
            raise DataError(f"{row.where}, {column} {number}: should be an object, this is {str(fields)[:80]!r}")
        yield Row(where=f"{row.where}, {column} {number}", fields={**row.fields, **fields})


def unique(items: Iterable[EvalItem]) -> Iterator[EvalItem]:
    """The items with a counter behind an id that came before."""
    seen: Counter[str] = Counter()
    for item in items:
        seen[item.id] += 1
        yield item if seen[item.id] == 1 else replace(item, id=f"{item.id}#{seen[item.id]}")


def read_options(value: Any, where: str) -> tuple[str, ...]:
    """Texts of options in the order of their letters.

    A list with or without letters, an object of letters, lines, or the text of a list as Python writes it. Letters that
    stand in the list decide, not places; of options with one letter the first with words is taken, and a letter that is
    left out has an empty text. Where only some have a letter, it is taken off if at least two do, all in their places.
    """
    given = option_texts(value, where)
    labels = [found for found in _labels(given) if found]
    if not given or len(labels) < len(given):
        return _some_labelled(given) if len(labels) > 1 else given
    texts: dict[str, str] = {}
    for found in labels:
        if not re.search(r"\w", texts.get(found[1], "")):
            texts[found[1]] = found.string[found.end() :].strip()
    last = ascii_uppercase.index(max(texts)) + 1
    return tuple(texts.get(letter, "") for letter in ascii_uppercase[:last])


def _some_labelled(given: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of options of which some lack their letter; as they are where one has the letter of another place."""
    found_at = _labels(given)
    if any(found and found[1] != letter for found, letter in zip(found_at, ascii_uppercase, strict=False)):
        return given
    return tuple(found.string[found.end() :] if found else one for one, found in zip(given, found_at, strict=True))


def _labels(options: Sequence[str]) -> list[re.Match[str] | None]:
    return [_LABEL.match(one.strip()) for one in options]


def bare_options(value: Any, where: str) -> tuple[str, ...]:
    """Texts of options that have no letters: one is taken off only where all have theirs, from A on."""
    given = option_texts(value, where)
    letters = [found[1] if found else "" for found in _labels(given)]
    return read_options(given, where) if letters == list(ascii_uppercase[: len(given)]) else given


def option_texts(value: Any, where: str) -> tuple[str, ...]:
    """Options as they stand, in whatever form they come. What a file leaves out at the end of an object is none."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _literal(value)
    if isinstance(value, Mapping):
        said = [letter for letter, text in value.items() if text not in (None, "")]
        known = [letter for letter in value if said and letter <= max(said)]
        value = [f"{letter}. {'' if value[letter] is None else value[letter]}" for letter in known]
    if isinstance(value, str):
        value = split_options(value)[1] or value
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(map(_is_text, value)):
        raise DataError(f"{where}: options should be a list of texts, they are {value!r:.80}")
    return tuple(map(str, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def are_in_order(options: Sequence[str]) -> bool:
    """Whether the letters before options, if there are any, run from A on, and every option says something."""
    labels = _labels(options)
    letters = [found[1] for found in labels if found]
    worded = all(found is None or found.string[found.end() :].strip() for found in labels)
    return worded and (not letters or letters == list(ascii_uppercase[: len(options)]))


def split_options(text: str) -> tuple[str, tuple[str, ...]]:
    """A question and the options "A. ...", "(A) ..." at its end: on lines of their own, or else within the text."""
    for pattern, least in ((_ON_LINES, 1), (_IN_TEXT, 2)):
        run: list[re.Match[str]] = []
        for found in pattern.finditer(text):
            if found[1] == "A":
                run = [found]
            elif run and found[1] == ascii_uppercase[len(run)]:
                run.append(found)
        if len(run) >= least:
            ends = [found.start() for found in run[1:]] + [len(text)]
            texts = (text[found.end() : end].strip() for found, end in zip(run, ends, strict=True))
            return text[: run[0].start()].strip(), tuple(texts)
    return text.strip(), ()


def letter_answer(value: Any, options: Sequence[str], where: str) -> str:
    """The true letter, from "C" or "<answer>C</answer>"."""
    letter = str(unwrap_truth(value)).strip().rstrip(".").upper()
    if len(letter) != 1 or letter not in ascii_uppercase[: len(options)]:
        raise DataError(f"{where}: the answer {value!r:.80} is not the letter of one of its {len(options)} options")
    return letter


def index_answer(value: Any, options: Sequence[str], where: str) -> str:
    """The true letter, from the number of the option, counted from 0."""
    number = int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdigit()) else -1
    if not 0 <= number < len(options):
        raise DataError(f"{where}: the answer {value!r:.80} is not the number of one of its {len(options)} options")
    return ascii_uppercase[number]


def text_answer(value: Any, options: Sequence[str], where: str) -> str:
    """The true letter, from the text of the option; empty where it is none, so that no response is right.

    Some copies of a data set have the letter itself, which counts where no option is a letter.
    """
    text = str(value)
    if text in options:
        return ascii_uppercase[options.index(text)]
    is_letter = len(text) == 1 and text in ascii_uppercase[: len(options)]
    return text if is_letter and not any(len(option) == 1 for option in options) else ""


def embedded(row: Row, column: str = "image") -> bytes | None:
    """The file inside a row of a parquet file, bytes or an object of `bytes` and `path`; None where there is none."""
    value = row.fields.get(column)
    content = value.get("bytes") if isinstance(value, Mapping) else value
    return content if isinstance(content, bytes) and content else None


def first_of(row: Row, *names: str) -> Any:
    """What the first of these columns that the row has says. Raises DataError where it has none of them."""
    for name in names:
        if row.fields.get(name) is not None:
            return row.fields[name]
    raise DataError(f"{row.where}: there is no column {' or '.join(map(repr, names))} ({', '.join(row.fields)})")
