# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Is a video file as long as it says? Demuxers take the end of a cut file for the end of the film."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

BOXES = {b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"mfra", b"sidx", b"free", b"skip", b"wide", b"udta", b"meta"}
EBML, SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")  # Matroska and WebM
UNTOLD = 0xFFFF_FFF0  # AVI sizes from here on, and 0, mean that the writer did not know


def missing_bytes(path: str) -> int:
    """Bytes that the outermost sizes of MP4, Matroska and AVI files promise behind their end. Other formats: 0."""
    with Path(path).open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        start = file.read(12)
        file.seek(0)
        if start[4:8] in BOXES:
            promised = _boxes(file, length)
        elif start[:4] == EBML:
            promised = _segment(file)
        elif start[:4] == b"RIFF":
            promised = _riff(file, length)
        else:
            promised = 0
    return max(promised - length, 0)


def _boxes(file: BinaryIO, length: int) -> int:
    """Where the last box ends that has a name known here: what follows it may be anything."""
    end = 0
    while end < length:
        file.seek(end)
        header = file.read(16)
        size, name = int.from_bytes(header[:4], "big"), header[4:8]
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if name not in BOXES or size < 8:  # 0: up to the end of the file
            break
        end += size
    return end


def _segment(file: BinaryIO) -> int:
    """Where the segment behind the EBML header ends; 0 where that is left open, as in live recordings."""
    file.seek(4)
    file.seek(_variable_size(file) or 0, os.SEEK_CUR)
    if file.read(4) != SEGMENT:
        return 0
    size = _variable_size(file)
    return 0 if size is None else file.tell() + size


def _variable_size(file: BinaryIO) -> int | None:
    """A number of one to eight bytes; its leading zero bits tell how many. None: unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(width - 1), "big") & ((1 << 7 * width) - 1)
    return None if value == (1 << 7 * width) - 1 else value


def _riff(file: BinaryIO, length: int) -> int:
    """Where the last RIFF chunk ends; large AVI files have several."""
    end = 0
    while end < length:
        file.seek(end)
        header = file.read(8)
        size = int.from_bytes(header[4:8], "little")
        if header[:4] != b"RIFF" or size == 0 or size >= UNTOLD:
            break
        end += 8 + size
    return end
