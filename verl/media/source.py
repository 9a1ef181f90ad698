# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Where a run takes its clips from, and the one door through which every stage loads them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from verl.errors import ConfigError, MediaError
from verl.media import decode
from verl.media.cache import RETRY, ClipCache
from verl.media.spec import build_command, check, source_id
from verl.types import MediaRef, SourceId, VideoClip, VideoMetadata, VideoSpec


class SourceMode(StrEnum):
    """What to do about a video that is not in the cache."""

    PREFER_PREPROCESSED = "prefer_preprocessed"  # decode it once, and keep the result if there is a cache
    PREPROCESSED_ONLY = "preprocessed_only"  # refuse it
    REALTIME_ONLY = "realtime_only"  # decode every video at every use, and leave the cache alone


class MediaSource:
    """Turns paths into references that any process can load."""

    def __init__(self, mode: SourceMode, cache_dir: str | Path | None, spec: VideoSpec) -> None:
        check(spec)
        if mode is SourceMode.PREPROCESSED_ONLY and cache_dir is None:
            raise ConfigError("preprocessed_only needs the directory of the preprocessed videos")
        self.mode = mode
        self.spec = spec
        unused = cache_dir is None or mode is SourceMode.REALTIME_ONLY
        self._cache = ClipCache(None if unused else Path(str(cache_dir)).expanduser().absolute())

    def ref(self, path: str | Path) -> MediaRef:
        """Reference to the video at `path`; the first one in prefer_preprocessed mode decodes. Raises MediaError."""
        source = source_id(path)
        key = self.spec.cache_key(source)
        entry = self._cache.find(key)
        if entry is not None:
            return self._ref(source, key, entry, self._cached_metadata(entry))
        if self.mode is SourceMode.PREPROCESSED_ONLY:
            command = build_command(self.spec, self._cache.root or "")
            raise MediaError(f"{path} is not preprocessed for this run's settings; run: {command}")
        if self._cache.root is None:
            return self._ref(source, key, None, decode.probe(source.path, self.spec))
        return self._decode_once(source, key)

    def _decode_once(self, source: SourceId, key: str) -> MediaRef:
        reason = self._cache.failure(key)
        if reason is not None:
            raise MediaError(f"{reason} (as recorded in the cache; {RETRY})")
        try:
            clip = decode.decode(source.path, self.spec)
        except MediaError as error:
            self._cache.record_failure(key, source, str(error))
            raise
        return self._ref(source, key, self._cache.write(key, clip, self.spec, source), clip.metadata)

    def _cached_metadata(self, entry: Path) -> VideoMetadata:
        spec, metadata = ClipCache.read_metadata(entry)
        if spec != self.spec:
            raise MediaError(f"cache entry {entry} holds another recipe than its name says; delete it")
        return metadata

    def _ref(self, source: SourceId, key: str, entry: Path | None, metadata: VideoMetadata) -> MediaRef:
        return MediaRef(
            path=source.path, spec=self.spec, key=key, entry=None if entry is None else str(entry), metadata=metadata
        )


def load(ref: MediaRef) -> VideoClip:
    """The clip that `ref` stands for: from its entry, else decoded from its path.

    Raises MediaError if neither is what it was when the reference was made.
    """
    if ref.entry is not None and Path(ref.entry).is_file():
        clip = ClipCache.load(Path(ref.entry), ref.spec)
    else:
        if ref.spec.cache_key(source_id(ref.path)) != ref.key:
            raise MediaError(f"{ref.path} has changed since its prompt was made; restart from the new file")
        clip = decode.decode(ref.path, ref.spec)
    if clip.metadata != ref.metadata:
        raise MediaError(
            f"{ref.entry or ref.path} gives other frames than its prompt was made for: {clip.metadata} instead of "
            f"{ref.metadata}; its container misleads, preprocess it with scripts/preprocess_videos.py"
        )
    return clip


class ClipReader:
    """Loads each clip once per step in this process."""

    def __init__(self) -> None:
        self.opens = 0  # loads since the last clear()
        self._clips: dict[str, VideoClip] = {}

    @property
    def distinct(self) -> int:
        """Clips loaded since the last clear(), each counted once."""
        return len(self._clips)

    def load(self, ref: MediaRef) -> VideoClip:
        """As `load`, from memory if this step has loaded it before."""
        if ref.key not in self._clips:
            self.opens += 1
            self._clips[ref.key] = load(ref)
        return self._clips[ref.key]

    def clear(self) -> None:
        """Begin another step: let go of the clips and count from zero."""
        self.opens = 0
        self._clips.clear()
