# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Data files to rows as written. Nothing is interpreted here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from verl.config.checks import split_location
from verl.errors import DataError

SUFFIXES = (".json", ".jsonl", ".parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row, and where it stands: "train.jsonl:17", or "train.json row 3" where lines say nothing."""

    where: str
    fields: Mapping[str, Any]


def list_files(location: str) -> list[Path]:
    """The data files that "path" or "path@split" means.

    A split is a file stem: of a folder it picks "split.*" and shards "split-*"; a single file must have it, or is
    asked for with "@train", upstream's name for all of a file. A folder is not searched for further folders.
    """
    name, split = split_location(location)
    path = Path(name).expanduser()
    if path.is_file():
        if split is None or split == "train" or _in_split(path, split):
            return [path]
        raise DataError(f"{location}: a file has no split {split!r}; name the file alone")
    if not path.is_dir():
        raise DataError(f"{location}: there is no such file or folder")
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    chosen = [file for file in files if split is None or _in_split(file, split)]
    if not chosen:
        stems = ", ".join(sorted({file.stem for file in files})) or "nothing"
        raise DataError(f"{location}: no {' or '.join(SUFFIXES)} file for it there; the folder holds {stems}")
    return chosen


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of one file, in order. Text is a JSON array when it starts with "[", else one object per line."""
    if file.suffix == ".parquet":
        yield from _read_parquet(file)
        return
    try:
        with file.open(encoding="utf-8-sig") as lines:
            start = lines.read(4096).lstrip()[:1]
        yield from _read_array(file) if start == "[" else _read_lines(file)
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not a text file in UTF-8 ({error})") from error


def _in_split(file: Path, split: str) -> bool:
    return file.stem == split or file.stem.startswith(f"{split}-")


def _read_parquet(file: Path) -> Iterator[Row]:
    try:
        table = pq.ParquetFile(file)
        at = 0
        for batch in table.iter_batches():
            for fields in batch.to_pylist():
                yield Row(where=f"{file.name} row {at}", fields=fields)
                at += 1
    except pa.ArrowException as error:
        raise DataError(f"{file}: cannot be read as parquet: {error}") from error


def _read_array(file: Path) -> Iterator[Row]:
    for at, fields in enumerate(_parse(file.read_text(encoding="utf-8-sig"), file.name)):
        yield _row(fields, f"{file.name} row {at}")


def _read_lines(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                where = f"{file.name}:{number}"
                yield _row(_parse(line, where), where)


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}; write one object per line, or one array of objects") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _row(fields: Any, where: str) -> Row:
    if not isinstance(fields, dict):
        raise DataError(f"{where}: a row must be an object with named columns, this is {str(fields)[:80]!r}")
    return Row(where=where, fields=fields)
