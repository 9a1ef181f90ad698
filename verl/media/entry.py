# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The file format of one cached clip.

A safetensors file with one tensor. Of a raw entry that is `frames`, U8 [F, 3, H, W]; of a packed one it is `packed`,
U8 [bytes], the blocks of its codec in a row. The JSON header is padded with spaces so that the payload begins on a page
boundary, and its `__metadata__` holds all that is needed to read the clip, under a seal: any safetensors reader opens
it, and this one maps raw frames into memory without a copy. Equal clips make equal files, byte for byte.
"""

from __future__ import annotations

import errno
import itertools
import json
import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from verl import __version__
from verl.errors import MediaError
from verl.media import codec as codecs
from verl.media import storage
from verl.media.fields import build, parse, strings
from verl.media.writers import mark
from verl.types import SourceId, VideoClip, VideoMetadata, VideoSpec

FORMAT = "verl-clip"
FORMAT_VERSION = "2"
PAGE = 4096
MAX_HEADER_BYTES = 64 << 20
MAX_SIDE = 1 << 16
TOOLS = ("av", "decord", "numpy", "torch", "torchcodec", "torchvision")
CURE = "delete it, or run scripts/preprocess_videos.py again, which replaces it"
_GONE = (errno.ENOENT, errno.ESTALE)


class EntryMissing(MediaError):
    """There is no such entry, or no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryHeader:
    """What a cached clip says about itself."""

    key: str
    spec: VideoSpec
    source: SourceId
    metadata: VideoMetadata
    tools: Mapping[str, str]  # versions; and "origin", when the frames were not decoded by ours
    codec: str
    blocks: tuple[int, ...]  # bytes of each frame of a packed entry; none of a raw one
    checksum: str  # xxh3_64 of the payload, 16 hex digits
    offset: int  # where the payload begins

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[F, 3, H, W]."""
        return self.metadata.num_frames, 3, self.metadata.height, self.metadata.width

    @property
    def payload_bytes(self) -> int:
        """Length of the payload in the file."""
        return math.prod(self.shape) if self.codec == codecs.RAW else sum(self.blocks)


@cache
def tool_versions() -> dict[str, str]:
    """Versions of everything that has a say in the pixels, found without importing it."""
    found = {"verl": __version__, "python": platform.python_version()}
    return found | {tool: known for tool in TOOLS if (known := _version(tool))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write_entry(
    path: Path,
    clip: VideoClip,
    spec: VideoSpec,
    source: SourceId,
    *,
    codec: str = codecs.RAW,
    tools: Mapping[str, str] | None = None,
) -> None:
    """Write `clip` to `path`, packed by `codec`. The name appears with its content complete and on disk, or not at all.

    A lossy `spec` packs by its own codec. `tools` made the frames; without it, those that are installed.
    """
    codec = codecs.check_storage(codec, spec.lossy)
    tools = dict(tool_versions() if tools is None else tools)
    if codec == codecs.RAW:
        parts: list[bytes | memoryview] = [np.ascontiguousarray(clip.frames).reshape(-1).data]
        tensor = {"frames": {"dtype": "U8", "shape": clip.frames.shape}}
    else:
        parts = list(codecs.CODECS[codec].encode(clip.frames))
        tensor = {"packed": {"dtype": "U8", "shape": [sum(map(len, parts))]}}
    if spec.lossy is not None:  # the library has a say in the pixels
        package = codecs.CODECS[codec].package
        tools |= {package: _version(package) or "unknown"}
    digest = xxhash.xxh3_64()
    for part in parts:
        digest.update(part)
    fields = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "key": spec.cache_key(source),
        "spec": json.dumps(asdict(spec)),
        "source": json.dumps(asdict(source)),
        "video": json.dumps(asdict(clip.metadata)),
        "tools": json.dumps(tools),
        "codec": codec,
        "blocks": json.dumps([] if codec == codecs.RAW else list(map(len, parts))),
        "xxh3_64": digest.hexdigest(),
    }
    publish(path, _header(fields, tensor, sum(map(len, parts))), *parts)


def _header(fields: dict[str, str], tensor: dict[str, dict[str, Any]], size: int) -> bytes:
    (described,) = tensor.values()
    described["data_offsets"] = [0, size]
    header = json.dumps({"__metadata__": fields | {"seal": _seal(fields)}, **tensor}).encode()
    padded = header.ljust(-(-(8 + len(header)) // PAGE) * PAGE - 8)
    return len(padded).to_bytes(8, "little") + padded


def _seal(fields: Mapping[str, str]) -> str:
    """xxh3_64 of all fields but the seal: no bit of the header can change unseen."""
    return xxhash.xxh3_64_hexdigest(json.dumps(dict(fields), sort_keys=True).encode())


def publish(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file so that a reader, or a crash at any moment, finds all of it or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".{path.stem}.{mark()}.tmp"
    try:
        with unfinished.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _sync_directory(folder: Path) -> None:
    """So that names outlive a power cut, where a file system can promise that: some network ones refuse to."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(directory)


def read_header(path: Path) -> EntryHeader:
    """Header of the entry at `path`. Raises EntryMissing if there is none, MediaError for what is not whole."""
    with _opened(path, _first_page) as (_, _, header):
        return header


def read_entry(path: Path) -> tuple[EntryHeader, NDArray[np.uint8]]:
    """Header and frames uint8 [F, 3, H, W]; raises as `read_header`. The file is opened once.

    Raw frames are backed by the file on a local disk. Writing to them changes a private copy, never the entry. The
    header is looked at through the same map: a read beside it would leave small pages in the page cache.
    """
    with _opened(path, storage.view) as (_, content, header):
        payload = content[header.offset :]
        if header.codec == codecs.RAW:
            return header, payload.reshape(header.shape)
        ends = list(itertools.accumulate(header.blocks, initial=0))
        blocks = [payload[start:end].data for start, end in itertools.pairwise(ends)]
        return header, codecs.unpack(header.codec, blocks, header.shape)


def verify(path: Path) -> EntryHeader:
    """Read every byte of the entry at `path` and return its header. Raises MediaError if one has changed."""
    with _opened(path, _first_page) as (file, _, header):
        digest = xxhash.xxh3_64()
        file.seek(header.offset)
        while block := file.read(storage.READ_BYTES):
            digest.update(block)
        if digest.hexdigest() != header.checksum:
            raise MediaError(f"cache entry {path} has changed on disk: its checksum does not match; {CURE}")
        return header


def _first_page(file: FileIO, size: int) -> NDArray[np.uint8]:
    return storage.read(file, min(PAGE, size))


@contextmanager
def _opened(
    path: Path, look: Callable[[FileIO, int], NDArray[np.uint8]]
) -> Iterator[tuple[FileIO, NDArray[np.uint8], EntryHeader]]:
    """The file, what `look` sees of it from its start on, and its header, which has been checked against the file."""
    try:
        with FileIO(path) as file:
            size = os.fstat(file.fileno()).st_size
            content = look(file, size)
            header = _parse(file, content, size)
            if header.offset + header.payload_bytes != size:
                found, wanted = size - header.offset, header.payload_bytes
                raise ValueError(f"it holds {found} of {wanted} bytes of pixels")
            yield file, content, header
    except OSError as error:
        if error.errno in _GONE:
            raise EntryMissing(
                f"cache entry {path} does not exist; build it with scripts/preprocess_videos.py"
            ) from error
        raise MediaError(f"cache entry {path} cannot be read ({error}); check the file system") from error
    except (ValueError, EOFError) as error:
        raise MediaError(f"{path} is not a whole cache entry of this version ({error}); {CURE}") from error


def _parse(file: FileIO, content: NDArray[np.uint8], size: int) -> EntryHeader:
    length = int.from_bytes(content[:8].tobytes(), "little")
    if not 0 < length <= min(size - 8, MAX_HEADER_BYTES):
        raise ValueError(f"header length {length} in a file of {size} bytes")
    whole = content if len(content) >= 8 + length else storage.read(file, 8 + length)
    outer = parse(whole[8 : 8 + length].tobytes())
    fields = dict(strings(outer.get("__metadata__") if isinstance(outer, dict) else None))
    if (fields.get("format"), fields.get("version")) != (FORMAT, FORMAT_VERSION):
        raise ValueError(f"format {fields.get('format')!r} version {fields.get('version')!r}")
    seal = fields.pop("seal", None)
    if seal != _seal(fields):
        raise ValueError("its header has changed")
    header = _typed(fields, 8 + length)
    tensor, shape = ("frames", list(header.shape)) if header.codec == codecs.RAW else ("packed", [header.payload_bytes])
    described = {"dtype": "U8", "shape": shape, "data_offsets": [0, header.payload_bytes]}
    if outer != {"__metadata__": outer["__metadata__"], tensor: described}:
        raise ValueError("its tensor is not the one that its header describes")
    return header


def _typed(fields: Mapping[str, str], offset: int) -> EntryHeader:
    if missing := {"key", "spec", "source", "video", "tools", "codec", "blocks", "xxh3_64"} - fields.keys():
        raise ValueError(f"its header lacks {min(missing)!r}")
    blocks = parse(fields["blocks"])
    if not isinstance(blocks, list) or not all(type(size) is int and 0 <= size <= 1 << 40 for size in blocks):
        raise ValueError("its blocks are not sizes")
    header = EntryHeader(
        key=fields["key"],
        spec=_spec(fields["spec"]),
        source=build(SourceId, parse(fields["source"])),
        metadata=build(VideoMetadata, parse(fields["video"])),
        tools=strings(parse(fields["tools"])),
        codec=fields["codec"],
        blocks=tuple(blocks),
        checksum=fields["xxh3_64"],
        offset=offset,
    )
    _check(header)
    return header


@lru_cache(maxsize=64)
def _spec(text: str) -> VideoSpec:
    """The clips of a run share one."""
    return build(VideoSpec, parse(text))


def _check(header: EntryHeader) -> None:
    metadata = header.metadata
    count = metadata.num_frames
    if header.key != header.spec.cache_key(header.source):
        raise ValueError("its key is not that of its recipe and source")
    if not (count and 0 < metadata.height <= MAX_SIDE and 0 < metadata.width <= MAX_SIDE):
        raise ValueError(f"frames {header.shape}")
    if len(metadata.timestamps) != count:
        raise ValueError(f"{len(metadata.timestamps)} times for {count} frames")
    if header.codec != codecs.RAW and header.codec not in codecs.CODECS:
        raise ValueError(f"unknown codec {header.codec!r}")
    if len(header.blocks) != (0 if header.codec == codecs.RAW else count):
        raise ValueError(f"{len(header.blocks)} blocks for {count} frames")
    lossy = header.codec != codecs.RAW and codecs.CODECS[header.codec].lossy
    if (header.codec if lossy else None) != header.spec.lossy:
        raise ValueError(f"codec {header.codec} under a recipe with lossy={header.spec.lossy}")
