# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Bytes of a file as an array: mapped from a local disk, read in large pieces from a network one.

A map costs one request per read-ahead window, which a disk answers in microseconds and a file server in milliseconds.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from contextlib import suppress
from functools import cache
from io import FileIO

import numpy as np
from numpy.typing import NDArray

READ_BYTES = 16 << 20
NETWORK = {  # f_type of statfs(2)
    0x6969: "nfs",
    0x0BD00BD0: "lustre",
    0x47504653: "gpfs",
    0x65735546: "fuse",
    0x00C36400: "ceph",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x517B: "smb",
    0x01021997: "9p",
    0x5346414F: "afs",
    0x19830326: "beegfs",
    0x20030528: "orangefs",
}


def on_network(descriptor: int) -> bool:
    """Whether the open file lies on a network file system, or on one that cannot be told."""
    return _is_network(os.fstat(descriptor).st_dev, descriptor)


_KNOWN: dict[int, bool] = {}


def _is_network(device: int, descriptor: int) -> bool:
    if device not in _KNOWN:
        kind = _file_system(descriptor)
        _KNOWN[device] = kind is None or kind in NETWORK
    return _KNOWN[device]


def _file_system(descriptor: int) -> int | None:
    """f_type of statfs(2): the first word of its answer on every 64-bit Linux."""
    answer = ctypes.create_string_buffer(512)
    if not sys.platform.startswith("linux") or _libc().fstatfs(descriptor, answer) != 0:
        return None
    return int.from_bytes(answer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) & 0xFFFFFFFF


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def view(file: FileIO, size: int) -> NDArray[np.uint8]:
    """The first `size` bytes of `file`, uint8 [size]. Raises EOFError or ValueError if it ends before.

    The array may be written to; the file never changes.
    """
    return read(file, size) if on_network(file.fileno()) else attach(file, size)


def attach(file: FileIO, size: int) -> NDArray[np.uint8]:
    """As `view`, mapped. The caller has checked that the file is long enough: beyond its end lies a SIGBUS."""
    mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
    with suppress(
        OSError
    ):  # a kernel without huge pages; with them, a file read in pieces of 2 MiB is mapped in as many
        mapped.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(mapped, np.uint8)


def read(file: FileIO, size: int) -> NDArray[np.uint8]:
    """As `view`, read."""
    bytes_ = np.empty(size, np.uint8)
    file.seek(0)
    place = bytes_.data
    while place:
        count = file.readinto(place[:READ_BYTES])
        if not count:
            raise EOFError(f"the file ends {len(place)} bytes early")
        place = place[count:]
    return bytes_


def is_mapped(array: NDArray[np.uint8]) -> bool:
    """Whether the bytes are those of a file, which the kernel can drop and fetch again."""
    base: object = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.obj if isinstance(base, memoryview) else base.base
    return isinstance(base, mmap.mmap)
