# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Where a run takes its clips from, and the one door through which every stage loads them."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from functools import cache
from pathlib import Path

from verl.errors import ConfigError, MediaError
from verl.media import decode, image
from verl.media.ahead import ReadAhead
from verl.media.cache import RETRY, ClipCache
from verl.media.codec import as_stored
from verl.media.entry import EntryMissing
from verl.media.spec import build_command, check, source_id
from verl.media.storage import is_mapped
from verl.types import ImageSpec, MediaClip, MediaRef, SourceId, VideoClip, VideoMetadata, VideoSpec

GIB = 1 << 30
log = logging.getLogger(__name__)


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
            try:
                return self._ref(source, key, entry, self._cached_metadata(entry))
            except EntryMissing:
                log.info("cache entry %s was removed while it was looked up", entry)
        if self.mode is SourceMode.PREPROCESSED_ONLY:
            raise self._not_preprocessed(path)
        if self._cache.root is None:
            return self._ref(source, key, None, decode.probe(source.path, self.spec))
        return self._decode_once(source, key)

    def measure(self, path: str | Path) -> VideoMetadata:
        """What loading the video at `path` will give, from headers alone: nothing is decoded or written.

        Raises MediaError as `ref` would, as far as headers tell.
        """
        source = source_id(path)
        key = self.spec.cache_key(source)
        entry = self._cache.find(key)
        if entry is not None:
            with suppress(EntryMissing):
                return self._cached_metadata(entry)
        if self.mode is SourceMode.PREPROCESSED_ONLY:
            raise self._not_preprocessed(path)
        self._check_failure(key)
        return decode.probe(source.path, self.spec)

    def _not_preprocessed(self, path: str | Path) -> MediaError:
        command = build_command(self.spec, self._cache.root or "")
        return MediaError(f"{path} is not preprocessed for this run's settings; run: {command}")

    def _check_failure(self, key: str) -> None:
        reason = self._cache.failure(key)
        if reason is not None:
            raise MediaError(f"{reason} (as recorded in the cache; {RETRY})")

    def _decode_once(self, source: SourceId, key: str) -> MediaRef:
        self._check_failure(key)
        try:
            clip = decode.decode(source.path, self.spec)
        except MediaError as error:
            try:
                self._cache.record_failure(key, source, str(error))
            except OSError as full:
                _warn_unwritable(self._cache.root, full.strerror)
            raise
        return self._ref(source, key, _write_through(self._cache, key, clip, self.spec, source), clip.metadata)

    def _cached_metadata(self, entry: Path) -> VideoMetadata:
        spec, metadata = ClipCache.read_metadata(entry)
        if spec != self.spec:
            raise MediaError(f"cache entry {entry} holds another recipe than its name says; delete it")
        return metadata

    def _ref(self, source: SourceId, key: str, entry: Path | None, metadata: VideoMetadata) -> MediaRef:
        return MediaRef(
            path=source.path,
            spec=self.spec,
            key=key,
            entry=None if entry is None else str(entry),
            metadata=metadata,
            required=self.mode is SourceMode.PREPROCESSED_ONLY,
        )


def load(ref: MediaRef) -> MediaClip:
    """The clip or image that `ref` stands for: from its entry, else decoded from its path.

    An entry that has disappeared is decoded and written again, unless `ref.required`. Raises MediaError if neither is
    what it was when the reference was made.
    """
    clip = _load(ref)
    if clip.metadata != ref.metadata:
        raise MediaError(
            f"{ref.entry or ref.path} gives other frames than its prompt was made for: {clip.metadata} instead of "
            f"{ref.metadata}; its container misleads, preprocess it with scripts/preprocess_videos.py"
        )
    return clip


def _load(ref: MediaRef) -> MediaClip:
    if isinstance(ref.spec, ImageSpec):
        _check_source(ref)
        return image.decode(ref.path, ref.spec)
    if ref.entry is None:
        _check_source(ref)
        return as_stored(decode.decode(ref.path, ref.spec), ref.spec.lossy)
    try:
        return ClipCache.load(Path(ref.entry), ref.spec)
    except EntryMissing as error:
        cache = ClipCache(Path(ref.entry).parent.parent)
        if ref.required:
            command = build_command(ref.spec, cache.root or "")
            raise MediaError(f"{ref.path}: its cache entry {ref.entry} has disappeared; run: {command}") from error
        return _load_again(ref, ref.spec, cache)


def _load_again(ref: MediaRef, spec: VideoSpec, cache: ClipCache) -> VideoClip:
    source = _check_source(ref)
    clip = decode.decode(ref.path, spec)
    written = _write_through(cache, ref.key, clip, spec, source)
    return as_stored(clip, spec.lossy) if written is None else ClipCache.load(written, spec)


def _check_source(ref: MediaRef) -> SourceId:
    source = source_id(ref.path)
    if ref.spec.cache_key(source) != ref.key:
        raise MediaError(f"{ref.path} has changed since its prompt was made; restart from the new file")
    return source


def _write_through(cache: ClipCache, key: str, clip: VideoClip, spec: VideoSpec, source: SourceId) -> Path | None:
    """Where `clip` is now, or None when the cache cannot be written to: then it is decoded at each use."""
    try:
        return cache.write(key, clip, spec, source)
    except OSError as error:
        _warn_unwritable(cache.root, error.strerror)
        return None


@cache
def _warn_unwritable(root: Path | None, reason: str | None) -> None:
    """Once per process, directory and reason."""
    log.warning("cache %s cannot be written to (%s): what it lacks is decoded at each use", root, reason)


class ClipReader:
    """Loads each clip once per step in this process, and reads ahead for the next one.

    Mapped clips are held until the step ends; they are the kernel's to drop. Of those in this process's own memory
    (packed, decoded, or from a network file system) the least recently used go first beyond `held_bytes`.
    """

    def __init__(self, *, held_bytes: int = 4 * GIB, ahead_bytes: int = 2 * GIB) -> None:
        self.opens = 0  # loads since the last clear()
        self._held_bytes = held_bytes
        self._seen: set[str] = set()
        self._clips: OrderedDict[str, MediaClip] = OrderedDict()
        self._ahead = ReadAhead(load, ahead_bytes)

    @property
    def distinct(self) -> int:
        """Clips loaded since the last clear(), each counted once."""
        return len(self._seen)

    def prefetch(self, refs: Sequence[MediaRef]) -> None:
        """Begin to load what will be asked for next, in this order, in a thread; replaces what was announced before."""
        self._ahead.plan([ref for ref in refs if ref.key not in self._clips])

    def load(self, ref: MediaRef) -> MediaClip:
        """As `load`, from memory if this step has loaded it before or `prefetch` was told of it."""
        if ref.key in self._clips:
            self._clips.move_to_end(ref.key)
            return self._clips[ref.key]
        self.opens += 1
        self._seen.add(ref.key)
        clip = self._ahead.take(ref)
        self._clips[ref.key] = load(ref) if clip is None else clip
        self._drop_oldest()
        return self._clips[ref.key]

    def clear(self) -> None:
        """Begin another step: let go of the clips and count from zero. What was read ahead stays."""
        self.opens = 0
        self._seen.clear()
        self._clips.clear()

    def close(self) -> None:
        """End the thread that reads ahead."""
        self._ahead.close()

    def _drop_oldest(self) -> None:
        owned = [(key, clip.frames.nbytes) for key, clip in self._clips.items() if not is_mapped(clip.frames)]
        excess = sum(size for _, size in owned) - self._held_bytes
        for key, size in owned[:-1]:
            if excess <= 0:
                return
            del self._clips[key]
            excess -= size
