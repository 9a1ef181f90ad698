# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Where cached clips live: `<root>/<first two digits of the key>/<key>.safetensors`.

The key covers the recipe and the identity of the source, so an entry is never stale, only unused, and different
recipes share one root. An entry is complete if its name exists. Beside it, `<key>.fail.json` records why a video
could not be read.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from verl.errors import MediaError
from verl.media.entry import map_frames, publish, read_header, tool_versions, write_entry
from verl.media.spec import build_command
from verl.types import SourceId, VideoClip, VideoMetadata, VideoSpec

RETRY = "scripts/preprocess_videos.py --retry_failed tries again"


class ClipCache:
    """Clips by key under `root`. With `root` None it holds nothing and cannot be written to."""

    def __init__(self, root: Path | None) -> None:
        self.root = root

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

    def write(self, key: str, clip: VideoClip, spec: VideoSpec, source: SourceId) -> Path:
        """Write the entry of `key`, which `spec` and `source` must agree with. Safe against concurrent writers."""
        if key != spec.cache_key(source):
            raise ValueError(f"key {key} does not belong to {source.path} under {spec}")
        path = self.entry_path(key)
        write_entry(path, clip, spec, source)
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
            record = json.loads(self._failure_path(key).read_bytes())
        except FileNotFoundError:
            return None
        return str(record["reason"]) if record["tools"] == tool_versions() else None

    def _failure_path(self, key: str) -> Path:
        return self.entry_path(key).with_name(f"{key}.fail.json")

    @staticmethod
    def read_metadata(path: Path) -> tuple[VideoSpec, VideoMetadata]:
        """The recipe and the numbers of an entry, without its pixels. Raises MediaError."""
        header = read_header(path)
        return header.spec, header.metadata

    @staticmethod
    def load(path: Path, expect: VideoSpec | None = None) -> VideoClip:
        """The clip of an entry, mapped into memory. Raises MediaError, also if it was not made for `expect`."""
        header = read_header(path)
        if expect is not None and header.spec != expect:
            command = build_command(expect, path.parent.parent)
            raise MediaError(
                f"cache entry {path} was made for {header.spec}, wanted is {expect}; build what is wanted: {command}"
            )
        return VideoClip(frames=map_frames(path, header), metadata=header.metadata)
