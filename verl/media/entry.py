# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The file format of one cached clip.

A safetensors file with one tensor `frames`, U8 [F, 3, H, W]. Its JSON header is padded with spaces so that pixels
begin on a page boundary, and its `__metadata__` holds all that is needed to read the clip: any safetensors reader
opens it, and this one maps it into memory without a copy. Equal clips make equal files, byte for byte.
"""

from __future__ import annotations

import json
import os
import platform
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xxhash
from numpy.typing import NDArray

from verl import __version__
from verl.errors import MediaError
from verl.types import SourceId, VideoClip, VideoMetadata, VideoSpec

FORMAT = "verl-clip"
FORMAT_VERSION = 1
PAGE = 4096
MAX_HEADER_BYTES = 64 << 20
READ_BYTES = 4 << 20
TOOLS = ("av", "decord", "numpy", "torch", "torchvision")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryHeader:
    """What a cached clip says about itself."""

    key: str
    spec: VideoSpec
    source: SourceId
    metadata: VideoMetadata
    tools: Mapping[str, str]
    checksum: str  # xxh3_64 of the pixels, 16 hex digits
    offset: int  # where the pixels begin

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[F, 3, H, W]."""
        return self.metadata.num_frames, 3, self.metadata.height, self.metadata.width


@cache
def tool_versions() -> dict[str, str]:
    """Versions of everything that has a say in the pixels, found without importing it."""
    found = {"verl": __version__, "python": platform.python_version()}
    for tool in TOOLS:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return found


def write_entry(path: Path, clip: VideoClip, spec: VideoSpec, source: SourceId) -> None:
    """Write `clip` to `path`. The name appears with its content complete and on disk, or not at all."""
    pixels = np.ascontiguousarray(clip.frames).reshape(-1).data
    fields = {
        "format": FORMAT,
        "version": str(FORMAT_VERSION),
        "key": spec.cache_key(source),
        "spec": json.dumps(asdict(spec)),
        "source": json.dumps(asdict(source)),
        "video": json.dumps(asdict(clip.metadata)),
        "tools": json.dumps(tool_versions()),
        "xxh3_64": xxhash.xxh3_64_hexdigest(pixels),
        "payload_bytes": str(len(pixels)),
    }
    tensor = {"dtype": "U8", "shape": clip.frames.shape, "data_offsets": [0, len(pixels)]}
    header = json.dumps({"__metadata__": fields, "frames": tensor}).encode()
    header = header.ljust(-(-(8 + len(header)) // PAGE) * PAGE - 8)
    publish(path, len(header).to_bytes(8, "little"), header, pixels)


def publish(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file so that a reader, or a crash at any moment, finds all of it or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".{path.stem}.{platform.node()}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with unfinished.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_header(path: Path) -> EntryHeader:
    """Header of the entry at `path`. Raises MediaError if it is missing, cut off, or not an entry of this format."""
    try:
        with path.open("rb") as file:
            header = _parse(file)
            found = os.fstat(file.fileno()).st_size - header.offset
    except FileNotFoundError as error:
        raise MediaError(f"cache entry {path} does not exist; build it with scripts/preprocess_videos.py") from error
    except (ValueError, KeyError, TypeError) as error:
        raise MediaError(f"{path} is not a cache entry this version can read ({error}); {_CURE}") from error
    expected = int(np.prod(header.shape, dtype=np.int64))
    if found != expected:
        raise MediaError(f"cache entry {path} holds {found} of {expected} bytes of pixels, it is damaged; {_CURE}")
    return header


_CURE = "delete it, or run scripts/preprocess_videos.py again, which replaces it"


def _parse(file: BinaryIO) -> EntryHeader:
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= MAX_HEADER_BYTES:
        raise ValueError(f"header length {length}")
    fields: dict[str, Any] = json.loads(file.read(length))["__metadata__"]
    if (fields["format"], fields["version"]) != (FORMAT, str(FORMAT_VERSION)):
        raise ValueError(f"format {fields['format']} version {fields['version']}")
    video = json.loads(fields["video"])
    video |= {name: tuple(video[name]) for name in ("frame_indices", "timestamps")}
    return EntryHeader(
        key=fields["key"],
        spec=VideoSpec(**json.loads(fields["spec"])),
        source=SourceId(**json.loads(fields["source"])),
        metadata=VideoMetadata(**video),
        tools=json.loads(fields["tools"]),
        checksum=fields["xxh3_64"],
        offset=8 + length,
    )


def map_frames(path: Path, header: EntryHeader) -> NDArray[np.uint8]:
    """uint8 [F, 3, H, W] backed by the file. Writing to it changes a private copy, never the entry."""
    return np.asarray(np.memmap(path, np.uint8, mode="c", offset=header.offset, shape=header.shape))


def verify(path: Path) -> EntryHeader:
    """Read every byte of the entry at `path` and return its header. Raises MediaError if one has changed."""
    header = read_header(path)
    digest = xxhash.xxh3_64()
    with path.open("rb") as file:
        file.seek(header.offset)
        while block := file.read(READ_BYTES):
            digest.update(block)
    if digest.hexdigest() != header.checksum:
        raise MediaError(f"cache entry {path} has changed on disk: its checksum does not match; {_CURE}")
    return header
