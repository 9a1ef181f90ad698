# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What is known about a run so far: an append-only journal per shard, and one sorted file when all is done.

Layout: <output>/<benchmark>/<fingerprint>/ with manifest.json, journal-<shard>.jsonl and results.jsonl. Everything that
may change a response is in the fingerprint, so nothing in one folder comes from two configurations.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from eval.item import Grade
from verl.errors import ConfigError, DataError, VerlError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_SPACE = "the disk is full; what is done is kept: make room and start the same command again"
NO_WAY = "it cannot be written; what is done is kept: start the same command again when it can"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one item: a response with its grades, or a failure with its reason."""

    id: str
    response: str | None = None
    failure: str | None = None
    truncated: bool = False
    prompt_tokens: int = 0
    response_tokens: int = 0
    frames: tuple[int, ...] = ()  # of each medium
    prompt_digest: str = ""  # of the expanded token ids
    official: Grade | None = None
    robust: Grade | None = None
    judged: bool = False  # whether a judge gave the official score
    judge: str = ""  # its name
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether rules decided nothing and no judge has yet."""
        return self.official is not None and self.official.score is None

    @property
    def progress(self) -> int:
        """How far the item has come: failed, without a verdict, done."""
        return 0 if self.failure is not None else 2 - self.is_open

    def lacks(self, judge: str) -> bool:
        """Whether this judge could say something: nobody has decided yet, or another judge did."""
        return self.is_open or (self.judged and self.judge != judge)

    def as_row(self) -> dict[str, Any]:
        """As one JSON object."""
        row = {name: getattr(self, name) for name in self.__slots__}
        for name in ("official", "robust"):
            grade = row[name]
            row[name] = grade and {"score": grade.score, "parsed": grade.parsed, "parts": dict(grade.parts)}
        return row | {"frames": list(self.frames), "notes": dict(self.notes)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Outcome:
        """Raises DataError for an object that is none of ours."""
        try:
            grades = {name: Grade(**row[name]) if row[name] else None for name in ("official", "robust")}
            return cls(**{**row, **grades, "frames": tuple(row["frames"])})
        except (KeyError, TypeError) as error:
            raise DataError(f"not a result row ({error}): {str(row)[:120]}") from error


class StoreError(VerlError):
    """Results cannot be written. What was written before is whole."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes to `path`. Raises StoreError, which tells a full disk from other causes."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; {NO_SPACE if error.errno in FULL else NO_WAY}") from error


def replace_file(path: Path, lines: Iterable[str]) -> None:
    """`path` holds these lines, or what it held before. Raises StoreError."""
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in lines)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


class Journal:
    """The outcomes of one shard, each on disk before the next is asked for. One process writes it at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)  # a buffer would hold on to what found no room
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise ConfigError(f"{path} is being written by another process; give each its own --shard") from error
        except OSError as error:  # a file system without locks
            log.warning("%s cannot be locked (%s): no other process may write it", path, error.strerror)
        _cut_torn_line(path)

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Append and wait until it is on disk. Raises StoreError, and then nothing of them is in the file."""
        lines = memoryview(b"".join(json.dumps(one.as_row(), ensure_ascii=False).encode() + b"\n" for one in outcomes))
        with self._lock, writing(self._path):
            descriptor = self._file.fileno()
            whole = os.fstat(descriptor).st_size
            try:
                while lines:  # a disk that fills takes a part
                    lines = lines[os.write(descriptor, lines) :]
                os.fsync(descriptor)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, whole)
                raise

    def close(self) -> None:
        """Let another process write."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _cut_torn_line(path: Path) -> None:
    """What a killed process wrote half is asked again."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)


def read_outcomes(folder: Path) -> dict[str, Outcome]:
    """All outcomes in a run's journals by item id.

    Of several about one item, which another start with other shards may have written, the one that has come furthest
    counts, and of such the last one in the journal that was written last.
    """
    found: dict[str, Outcome] = {}
    for journal in sorted(folder.glob("journal-*.jsonl"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
        for outcome in _read(journal):
            if outcome.id not in found or outcome.progress >= found[outcome.id].progress:
                found[outcome.id] = outcome
    return found


def _read(path: Path) -> Iterator[Outcome]:
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # the last one is empty, or torn
        try:
            yield Outcome.from_row(json.loads(line))
        except (ValueError, DataError) as error:
            raise DataError(f"{path}:{number}: {error}; delete the line to have its item asked again") from error


def write_results(path: Path, outcomes: Iterable[Outcome]) -> None:
    """One line per item, in the order given; replaces the file at once. Raises StoreError."""
    replace_file(path, (json.dumps(one.as_row(), ensure_ascii=False) for one in outcomes))


def read_results(path: Path) -> list[Outcome]:
    """A finished run's outcomes. Raises DataError when it is not finished."""
    if not path.is_file():
        raise DataError(f"{path.parent} has no results yet; finish the run, or merge its shards")
    return list(_read(path))
