# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Where cached clips live: `<root>/<first two digits of the key>/<key>.safetensors`.

The key covers the recipe and the identity of the source, so an entry is never stale, only unused, and different
recipes share one root. An entry is complete if its name exists. Beside it, `<key>.fail.json` records why a video
could not be read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from verl.errors import MediaError
from verl.media import codec as codecs
from verl.media.entry import EntryHeader, publish, read_entry, read_header, tool_versions, write_entry
from verl.media.fields import parse
from verl.media.spec import build_command
from verl.types import SourceId, VideoClip, VideoMetadata, VideoSpec

RETRY = "scripts/preprocess_videos.py --retry_failed tries again"


class Kind(StrEnum):
    """What a file of a cache is."""

    ENTRY = "entry"
    FAILURE = "failure"
    UNFINISHED = "unfinished"


NAMES = {
    Kind.ENTRY: re.compile(r"([0-9a-f]{32})\.safetensors"),
    Kind.FAILURE: re.compile(r"([0-9a-f]{32})\.fail\.json"),
    Kind.UNFINISHED: re.compile(r"\.([0-9a-f]{32})(?:\.fail)?\..*\.\d+\.[0-9a-f]{8}\.tmp"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file that a cache has written."""

    path: Path
    key: str
    kind: Kind
    bytes: int
    mtime: float  # seconds since 1970


class ClipCache:
    """Clips by key under `root`. With `root` None it holds nothing and cannot be written to.

    `codec` is how entries are written; they are read however they were written.
    """

    def __init__(self, root: Path | None, codec: str = codecs.RAW) -> None:
        self.root = root
        self.codec = codecs.check_storage(codec, None)

    def entry_path(self, key: str) -> Path:
        """Where the entry of `key` is, or would be."""
        if self.root is None:
            raise MediaError("no cache directory is configured; set one to write clips")
        return self.root / key[:2] / f"{key}.safetensors"

    def find(self, key: str) -> Path | None:
        """The entry of `key` if it has been written."""
        if self.root is None:
            return None
        path = self.entry_path(key)
        return path if path.is_file() else None

    def write(self, key: str, clip: VideoClip, spec: VideoSpec, source: SourceId, *, origin: str | None = None) -> Path:
        """Write the entry of `key`, which `spec` and `source` must agree with. Safe against concurrent writers.

        `origin` says who made the frames, if not a decoder of ours.
        """
        if key != spec.cache_key(source):
            raise ValueError(f"key {key} does not belong to {source.path} under {spec}")
        path = self.entry_path(key)
        tools = tool_versions() | {"origin": origin} if origin else None
        write_entry(path, clip, spec, source, codec=self.codec, tools=tools)
        self._failure_path(key).unlink(missing_ok=True)
        return path

    def record_failure(self, key: str, source: SourceId, reason: str) -> None:
        """Remember that these tools could not read `source`."""
        record = {
            "key": key,
            "path": source.path,
            "reason": reason,
            "tools": tool_versions(),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        publish(self._failure_path(key), json.dumps(record, indent=1).encode())

    def failure(self, key: str) -> str | None:
        """Why `key` could not be built by the tools now installed, or None if they have not failed on it."""
        if self.root is None:
            return None
        try:
            record = read_failure(self._failure_path(key))
        except FileNotFoundError:
            return None
        return record.reason if record.tools == tool_versions() else None

    def members(self) -> Iterator[Member]:
        """Every file that a cache wrote under `root`, in no order; no other file, and nothing behind a link."""
        if self.root is None:
            return
        if not self.root.is_dir():
            raise MediaError(f"{self.root} is not a directory; name the root of a cache")
        for folder in os.scandir(self.root):
            if re.fullmatch("[0-9a-f]{2}", folder.name) and folder.is_dir(follow_symlinks=False):
                yield from _members(folder.path, folder.name)

    def _failure_path(self, key: str) -> Path:
        return self.entry_path(key).with_name(f"{key}.fail.json")

    @staticmethod
    def read_metadata(path: Path) -> tuple[VideoSpec, VideoMetadata]:
        """The recipe and the numbers of an entry, without its pixels. Raises MediaError."""
        header = read_header(path)
        return header.spec, header.metadata

    @staticmethod
    def load(path: Path, expect: VideoSpec | None = None) -> VideoClip:
        """The clip of an entry, mapped into memory if it can be.

        Raises EntryMissing if it is gone, MediaError if it is damaged or was not made for `expect`.
        """
        header, frames = read_entry(path)
        if expect is not None and header.spec != expect:
            command = build_command(expect, path.parent.parent)
            raise MediaError(
                f"cache entry {path} was made for {header.spec}, wanted is {expect}; build what is wanted: {command}"
            )
        return VideoClip(frames=frames, metadata=header.metadata)

    def recode(self, path: Path) -> EntryHeader:
        """Store the entry at `path` as this cache writes, under the name it has; its pixels stay what they are."""
        header, frames = read_entry(path)
        if header.codec != codecs.check_storage(self.codec, header.spec.lossy):
            clip = VideoClip(frames=frames, metadata=header.metadata)
            write_entry(path, clip, header.spec, header.source, codec=self.codec, tools=header.tools)
        return read_header(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a video could not be read."""

    path: str
    reason: str
    tools: dict[str, str]


def read_failure(path: Path) -> Failure:
    """The record at `path`. One that cannot be read counts as a failure of no known tools, so that all try again."""
    try:
        record = parse(path.read_bytes())
        return Failure(path=str(record["path"]), reason=str(record["reason"]), tools=dict(record["tools"]))
    except (ValueError, KeyError, TypeError):
        return Failure(path="", reason="its record is damaged", tools={})


def _members(folder: str, digits: str) -> Iterator[Member]:
    for file in os.scandir(folder):
        for kind, pattern in NAMES.items():
            found = pattern.fullmatch(file.name)
            if not found or not found[1].startswith(digits) or not file.is_file(follow_symlinks=False):
                continue
            try:
                status = file.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield Member(path=Path(file.path), key=found[1], kind=kind, bytes=status.st_size, mtime=status.st_mtime)
