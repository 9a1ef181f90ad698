# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which model answers: by what its files hold, wherever they lie and whenever they were copied.

Files up to 64 MiB are read whole. Of larger ones, which are weights, size, header and pieces of every tensor are read:
training changes values everywhere in a tensor. What is changed by hand in a few places of one may go unseen.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from verl.errors import ConfigError

KINDS = (".json", ".jinja", ".txt", ".model", ".safetensors", ".bin")
WHOLE_BYTES = 64 << 20
PIECE_BYTES, PIECES = 4096, 1024  # of one file, and at least one piece of every tensor
MOST_PIECES = 64  # of one tensor
THREADS = 8

Span = tuple[int, int]  # first byte, and the one behind the last


def model_identity(model: str) -> dict[str, Any]:
    """The files of a model folder that make its answers, and where they are. Raises ConfigError for no folder."""
    folder = Path(model)
    if not folder.is_dir():
        raise ConfigError(f"--model {model}: no such folder; download the model first")
    files = sorted(path for path in folder.iterdir() if path.suffix in KINDS)
    with ThreadPoolExecutor(THREADS) as pool:
        identities = list(pool.map(file_identity, files))
    return {"path": str(folder.resolve()), "files": dict(zip((path.name for path in files), identities, strict=True))}


def file_identity(path: Path) -> str:
    """Content of what is small; size and a sample of the content of weights."""
    size = path.stat().st_size
    if size <= WHOLE_BYTES:
        return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    digest = hashlib.blake2b(digest_size=8)
    with path.open("rb", buffering=0) as file:
        descriptor = file.fileno()
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        for start, end in _sample(descriptor, size):
            digest.update(os.pread(descriptor, end - start, start))
    return f"{size} bytes, {digest.hexdigest()} of a sample"


def _sample(descriptor: int, size: int) -> Iterator[Span]:
    """What is read of a large file: of safetensors the header and pieces of each tensor, of others pieces of it all."""
    length = int.from_bytes(os.pread(descriptor, 8, 0), "little")
    try:
        header = json.loads(os.pread(descriptor, length, 8)) if length <= WHOLE_BYTES else {}
        spans = [one["data_offsets"] for name, one in header.items() if name != "__metadata__"]
        tensors = sorted((8 + length + start, 8 + length + end) for start, end in spans)
    except (ValueError, TypeError, KeyError, AttributeError):
        tensors = []
    if not tensors or not all(start <= end <= size for start, end in tensors) or tensors[0][0] < 0:
        yield from _pieces((0, size), PIECES)
        return
    yield 0, 8 + length
    for span in tensors:
        yield from _pieces(span, min(max(PIECES // len(tensors), 1), MOST_PIECES))


def _pieces(span: Span, count: int) -> Iterator[Span]:
    """So many pieces, from the middles of equal parts of the span; all of it, where that is no more."""
    start, end = span
    if end - start <= count * PIECE_BYTES:
        yield span
        return
    for number in range(count):
        begin = start + (end - start - PIECE_BYTES) * (2 * number + 1) // (2 * count)
        yield begin, begin + PIECE_BYTES
