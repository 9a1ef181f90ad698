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
from huggingface_hub import snapshot_download

from verl.config.checks import DATA_SUFFIXES, is_dataset_name, split_location
from verl.errors import DataError

NO_ROWS = {"dataset_infos.json", "dataset_info.json", "state.json"}  # what the datasets library writes beside rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row, and where it stands: "train.jsonl:17", or "train.json row 3" where lines say nothing."""

    where: str
    fields: Mapping[str, Any]


def list_files(location: str) -> list[Path]:
    """The data files that "path" or "path@split" means. Never downloads.

    A path that does not exist may be the name of a dataset in the Hugging Face cache, "owner/dataset". A split is a
    file stem: of a folder it picks "split.*" and shards "split-*"; a single file must have it, or is asked for with
    "@train", upstream's name for all of a file. A folder is not searched for further folders, but for one: where it
    holds no data files itself, those in its folder "data" are meant, as datasets on the hub have it.
    """
    name, split = split_location(location)
    path = Path(name).expanduser()
    if path.is_file():
        if split is None or split == "train" or _in_split(path, split):
            return [path]
        raise DataError(f"{location}: a file has no split {split!r}; name the file alone")
    folder = path if path.is_dir() else _cached_dataset(name)
    files = _data_files(folder) or _data_files(folder / "data")
    chosen = [file for file in files if split is None or _in_split(file, split)]
    if not chosen:
        stems = ", ".join(sorted({file.stem for file in files})) or "nothing"
        raise DataError(f"{location}: no {' or '.join(DATA_SUFFIXES)} file for it there; the folder holds {stems}")
    return chosen


def read_rows(file: Path) -> Iterator[Row | DataError]:
    """The rows of one file, in order, and the error of what is none: of one line, or of the rest of the file.

    Text is a JSON array when it starts with "[", else one object per line.
    """
    try:
        yield from _read_parquet(file) if file.suffix == ".parquet" else _read_text(file)
    except DataError as error:
        yield error


def _read_text(file: Path) -> Iterator[Row | DataError]:
    try:
        with file.open(encoding="utf-8-sig") as lines:
            start = lines.read(4096).lstrip()[:1]
        yield from _read_array(file) if start == "[" else _read_lines(file)
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not a text file in UTF-8 ({error})") from error


def _data_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix in DATA_SUFFIXES and file.name not in NO_ROWS)


def _cached_dataset(name: str) -> Path:
    if not is_dataset_name(name):
        raise DataError(f"{name}: there is no such file or folder")
    try:
        return Path(snapshot_download(name, repo_type="dataset", local_files_only=True))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{name}: there is no such file or folder, and no dataset of that name in the Hugging Face cache;"
            f" correct it, or run: hf download --repo-type dataset {name}"
        ) from error


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


def _read_array(file: Path) -> Iterator[Row | DataError]:
    for at, fields in enumerate(_parse(file.read_text(encoding="utf-8-sig"), file.name)):
        yield _row(fields, f"{file.name} row {at}")


def _read_lines(file: Path) -> Iterator[Row | DataError]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                where = f"{file.name}:{number}"
                try:
                    fields = _parse(line, where)
                except DataError as error:
                    yield error
                else:
                    yield _row(fields, where)


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}; write one object per line, or one array of objects") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _row(fields: Any, where: str) -> Row | DataError:
    if not isinstance(fields, dict):
        return DataError(f"{where}: a row must be an object with named columns, this is {str(fields)[:80]!r}")
    return Row(where=where, fields=fields)
