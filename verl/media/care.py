# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Looking after a cache over the years: is it sound, what is in it, and what can go."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from verl.errors import ConfigError, DataError, MediaError
from verl.media import entry as entries
from verl.media.cache import NAMES, ClipCache, Kind, Member, read_failure
from verl.media.entry import EntryHeader
from verl.media.preprocess import read_rows
from verl.types import VideoSpec

HOUR = 3600.0
DAY = 24 * HOUR
YOUNGEST = HOUR  # what was written later may be in use by a builder; it is never pruned
STALE = DAY  # an unfinished file of this age belongs to a builder that died
THREADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `verify` found."""

    sound: int
    bytes: int  # of sound entries
    problems: tuple[tuple[Path, str], ...]
    failures: int  # videos that could not be read
    unfinished: int


def verify(cache: ClipCache, *, full: bool) -> Verdict:
    """Check every entry: header, name and size, and with `full` every byte of the payload."""
    members = list(cache.members())
    held = sorted((one for one in members if one.kind is Kind.ENTRY), key=lambda one: one.path)
    with ThreadPoolExecutor(THREADS) as pool:
        reasons = list(pool.map(lambda one: _problem(one, full=full), held))
    kinds = Counter(one.kind for one in members)
    return Verdict(
        sound=sum(reason is None for reason in reasons),
        bytes=sum(one.bytes for one, reason in zip(held, reasons, strict=True) if reason is None),
        problems=tuple((one.path, reason) for one, reason in zip(held, reasons, strict=True) if reason is not None),
        failures=kinds[Kind.FAILURE],
        unfinished=kinds[Kind.UNFINISHED],
    )


def _problem(member: Member, *, full: bool) -> str | None:
    try:
        header = entries.verify(member.path) if full else entries.read_header(member.path)
    except entries.EntryMissing:
        return None  # pruned meanwhile
    except MediaError as error:
        return str(error)
    return None if header.key == member.key else f"{member.path} holds the entry {header.key}; {entries.CURE}"


@dataclass(slots=True, kw_only=True)
class Share:
    """Entries of one kind, added up."""

    entries: int = 0
    bytes: int = 0  # in files
    frames: int = 0
    seconds: float = 0.0  # of video

    def add(self, header: EntryHeader, size: int) -> None:
        """Count one entry."""
        self.entries += 1
        self.bytes += size
        self.frames += header.metadata.num_frames
        self.seconds += header.metadata.duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What is in a cache."""

    total: Share
    by_spec: dict[str, Share]
    by_codec: dict[str, Share]  # converted entries apart
    failures: dict[str, int]  # by reason
    unreadable: int
    unfinished: int
    unfinished_bytes: int


def stats(cache: ClipCache) -> Stats:
    """Add up headers and failure records; no pixel is read."""
    total, by_spec, by_codec = Share(), dict[str, Share](), dict[str, Share]()
    failures: Counter[str] = Counter()
    unreadable = unfinished = unfinished_bytes = 0
    for member in cache.members():
        if member.kind is Kind.UNFINISHED:
            unfinished, unfinished_bytes = unfinished + 1, unfinished_bytes + member.bytes
            continue
        try:
            if member.kind is Kind.FAILURE:
                record = read_failure(member.path)
                failures[_without_path(record.reason, record.path)] += 1
                continue
            header = entries.read_header(member.path)
        except FileNotFoundError:
            continue
        except MediaError:
            unreadable += 1
            continue
        codec = header.codec + (f" ({header.tools['origin']})" if "origin" in header.tools else "")
        for share in (
            total,
            by_spec.setdefault(describe(header.spec), Share()),
            by_codec.setdefault(codec, Share()),
        ):
            share.add(header, member.bytes)
    return Stats(
        total=total,
        by_spec=by_spec,
        by_codec=by_codec,
        failures=dict(failures.most_common()),
        unreadable=unreadable,
        unfinished=unfinished,
        unfinished_bytes=unfinished_bytes,
    )


def describe(spec: VideoSpec) -> str:
    """A recipe on one line; what is at its default is left out."""
    shown = [(one.name, getattr(spec, one.name)) for one in fields(VideoSpec) if getattr(spec, one.name) != one.default]
    return " ".join(f"{name}={value}" for name, value in shown)


def _without_path(reason: str, path: str) -> str:
    """The reason as other videos have it too."""
    return re.sub(r"\d+", "N", reason.replace(path, "").lstrip(": ")) if path else reason


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRule:
    """What may go. Rules add up: what any of them names goes."""

    older_than: float | None = None  # seconds since it was written
    max_bytes: int | None = None  # the oldest entries go until the rest fits
    keep: References | None = None  # entries that none of these rows refers to go


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """Files that a rule names, and what stays."""

    remove: tuple[Member, ...]
    kept: int
    kept_bytes: int

    @property
    def bytes(self) -> int:
        """What removing them sets free."""
        return sum(one.bytes for one in self.remove)


def plan_prune(cache: ClipCache, rule: PruneRule, now: float | None = None) -> PrunePlan:
    """What `rule` would remove of files that are at least an hour old. Unfinished files go after a day in any case."""
    if rule.max_bytes is not None and rule.max_bytes < 0:
        raise ConfigError(f"a cache cannot have {rule.max_bytes} bytes; name a size of 0 or more")
    now = time.time() if now is None else now
    members = list(cache.members())
    named = {one.path for one in members if _is_named(one, rule, now - one.mtime)}
    if rule.max_bytes is not None:
        named |= _excess(members, rule.max_bytes, named)
    remove = [one for one in members if one.path in named and now - one.mtime >= YOUNGEST]
    going = {one.path for one in remove}
    kept = [one for one in members if one.kind is Kind.ENTRY and one.path not in going]
    remove.sort(key=lambda one: (one.mtime, one.path))
    return PrunePlan(remove=tuple(remove), kept=len(kept), kept_bytes=sum(one.bytes for one in kept))


def _is_named(member: Member, rule: PruneRule, age: float) -> bool:
    if member.kind is Kind.UNFINISHED:
        return age >= STALE
    if rule.older_than is not None and age >= rule.older_than:
        return True
    return rule.keep is not None and not rule.keep.covers(member)


def _excess(members: Iterable[Member], max_bytes: int, named: set[Path]) -> set[Path]:
    held = [one for one in members if one.kind is Kind.ENTRY and one.path not in named]
    total, excess = sum(one.bytes for one in held), set[Path]()
    for one in sorted(held, key=lambda one: one.mtime):
        if total <= max_bytes:
            break
        total -= one.bytes
        excess.add(one.path)
    return excess


def prune(plan: PrunePlan) -> int:
    """Remove what `plan` names, but nothing that has been written anew since; returns how many files went."""
    return sum(map(_remove, plan.remove))


def _remove(member: Member) -> bool:
    if not NAMES[member.kind].fullmatch(member.path.name):
        raise ValueError(f"{member.path} is not a file of a cache")
    try:
        if member.path.lstat().st_mtime != member.mtime:
            return False
        member.path.unlink()
    except FileNotFoundError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What data files need of a cache."""

    keys: frozenset[str]
    sources: frozenset[str]  # resolved paths of the videos of rows that name no entry
    videos: frozenset[str]  # resolved paths of all videos

    @classmethod
    def of(cls, files: Sequence[Path], image_dir: Path | None = None) -> References:
        """References of JSON or JSON-lines files.

        A row that preprocessing wrote names its entries. Of any other row, all entries of its videos are needed, under
        every recipe. Raises DataError for files that refer to nothing: they are more likely the wrong files.
        """
        keys, sources, videos = set[str](), set[str](), set[str]()
        for row in (row for file in files for row in read_rows(file)):
            paths = {str(_resolve(path, image_dir)) for path in listed(row.get("videos"))}
            named = {key for name in listed(row.get("preprocessed_video")) if (key := _key(name))}
            keys |= named
            videos |= paths
            sources |= set() if named else paths
        if not keys and not sources:
            shown = ", ".join(map(str, files)) or "no file"
            raise DataError(f"{shown}: no row has a video, so everything would go; name the data files in use")
        return cls(keys=frozenset(keys), sources=frozenset(sources), videos=frozenset(videos))

    def covers(self, member: Member) -> bool:
        """Whether a row needs this entry or failure record. An entry that cannot be read is needed by none."""
        if member.key in self.keys:
            return True
        try:
            if member.kind is Kind.FAILURE:
                return read_failure(member.path).path in self.videos
            return entries.read_header(member.path).source.path in self.sources
        except (MediaError, FileNotFoundError):
            return False


def _resolve(path: str, root: Path | None) -> Path:
    return (root / path if root else Path(path)).expanduser().resolve()


def listed(value: Any) -> Iterator[str]:
    """The paths in a column that holds one, a list of them, or nothing."""
    for one in [value] if isinstance(value, str) else value or ():
        if isinstance(one, str):
            yield one


def _key(name: str) -> str | None:
    found = NAMES[Kind.ENTRY].fullmatch(Path(name).name)
    return found[1] if found else None
