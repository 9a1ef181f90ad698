# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Scored attempts at the rows of a data file, in a JSONL file that only grows: what is in it is never paid for again.

The first line says by which settings attempts are made. Every other line is one row with all of its attempts, written
and synced when they are complete. A process killed while it writes leaves half a line, which the next one removes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from verl.errors import ConfigError, DataError
from verl.types import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One response to a row and its score, or why there is none."""

    text: str = ""
    truncated: bool = False  # cut off at the length limit
    scores: Mapping[str, float] = field(default_factory=dict)  # "overall" and the named parts; empty with an error
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A row and what came of it."""

    key: str  # see `key_of`
    id: str
    where: str
    attempts: tuple[Attempt, ...]

    @property
    def scored(self) -> tuple[Attempt, ...]:
        """The attempts with a score."""
        return tuple(attempt for attempt in self.attempts if attempt.error is None)

    @property
    def errors(self) -> Counter[str]:
        """Why attempts have none."""
        return Counter(attempt.error for attempt in self.attempts if attempt.error is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What passes: attempts with at least `threshold` in the part `part` of their score."""

    part: str = "accuracy"
    threshold: float = 0.5

    def value(self, attempt: Attempt) -> float:
        """That part of a score. Raises DataError when a score has no such part."""
        if self.part not in attempt.scores:
            known = ", ".join(attempt.scores)
            raise DataError(f"scores have no part {self.part!r} (they have: {known}); choose one of these")
        return attempt.scores[self.part]

    def passes(self, attempt: Attempt) -> bool:
        """Whether an attempt with a score is good enough."""
        return self.value(attempt) >= self.threshold

    def rate(self, tried: Tried) -> float | None:
        """Share of the scored attempts that pass, None without any."""
        scored = tried.scored
        return sum(map(self.passes, scored)) / len(scored) if scored else None

    def best(self, tried: Tried, most: int) -> list[str]:
        """Up to `most` different responses that pass and came to an end, the best first, ties in their order."""
        good = [a for a in tried.scored if self.passes(a) and not a.truncated and a.text.strip()]
        good.sort(key=self.value, reverse=True)
        return list(dict.fromkeys(attempt.text for attempt in good))[:most]


def key_of(record: Record) -> str:
    """Identity of a row: where it stands and what it holds. A row that was edited is another one."""
    content = json.dumps(record.fields, sort_keys=True, default=str).encode()
    return f"{record.where}#{hashlib.blake2b(content, digest_size=8).hexdigest()}"


class Ledger:
    """The file. One process writes it at a time."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Open or begin it. Raises ConfigError when it was made by other settings, naming them."""
        self.path = path
        self._settings = json.loads(json.dumps(settings))
        self._tried: dict[str, Tried] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab+")
        _lock(self._file, path)
        self._read()

    def __contains__(self, key: str) -> bool:
        return key in self._tried

    def __getitem__(self, key: str) -> Tried:
        return self._tried[key]

    def add(self, tried: Tried) -> None:
        """Keep a row's attempts; they are on disk when this returns. They take the place of earlier ones."""
        self._write(asdict(tried))
        self._tried[tried.key] = tried

    def forget(self, keys: Iterable[str]) -> None:
        """Have rows tried again. Their lines stay until new ones follow."""
        for key in keys:
            del self._tried[key]

    def close(self) -> None:
        """Let another process have it."""
        self._file.close()

    def _read(self) -> None:
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            fields = self._parse(line, number)
            if number == 1:
                self._compare(fields)
            else:
                attempts = tuple(Attempt(**attempt) for attempt in fields.pop("attempts"))
                self._tried[fields["key"]] = Tried(**fields, attempts=attempts)
        self._file.truncate(whole)
        if not whole:
            self._write({"settings": self._settings})

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            return dict(json.loads(line))
        except ValueError as error:
            raise DataError(f"{self.path}:{number} is damaged: {error}; delete that line, or the file") from error

    def _compare(self, fields: Mapping[str, Any]) -> None:
        made = fields.get("settings")
        if not isinstance(made, dict):
            raise ConfigError(f"{self.path} is no file of attempts; name another output file")
        differing = [
            f"{name} was {made.get(name)!r:.200}, is {self._settings.get(name)!r:.200}"
            for name in sorted(made.keys() | self._settings.keys())
            if made.get(name) != self._settings.get(name)
        ]
        if differing:
            raise ConfigError(
                f"{self.path} holds attempts by other settings: {'; '.join(differing)}."
                " Set them as they were, name another output file, or delete this one"
            )

    def _write(self, fields: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(fields).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _lock(file: Any, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"{path} is being written by another process; wait for it, or name another file") from None
