# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which files of a folder are the frames of a video, and which video that makes it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from verl.errors import MediaError
from verl.types import SourceId

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def frame_files(folder: Path) -> list[Path]:
    """The images in `folder`, hidden files aside, by name. Raises MediaError if there is none."""
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise MediaError(f"cannot be listed as a folder of frames ({error.strerror})") from error
    found = [file for file in files if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]
    if not found:
        raise MediaError(f"is a folder, and no frame is in it (images that end in {', '.join(SUFFIXES)})")
    return found


def folder_id(folder: Path) -> SourceId:
    """Identity of the frames in `folder`: their names, sizes and times of change. Raises MediaError."""
    digest, size, latest = hashlib.blake2b(digest_size=16), 0, 0
    for file in frame_files(folder):
        try:
            status = file.stat()
        except OSError as error:
            raise MediaError(f"frame {file.name} cannot be opened ({error.strerror})") from error
        digest.update(f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
        size, latest = size + status.st_size, max(latest, status.st_mtime_ns)
    return SourceId(path=str(folder), size=size, mtime_ns=latest, listing=digest.hexdigest())
