# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A process that can compute and nothing else: Linux lets it make only the system calls listed here (seccomp).

No file can be opened, no socket made, no process or thread started, no signal handler or timer changed, no limit
raised; such calls fail with PermissionError. What the process holds open (standard streams on /dev/null, one socket)
stays usable. The kernel's code behind the calls below is what is trusted.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys

from verl.errors import WorkerError

_NO_NEW_PRIVILEGES, _SECCOMP, _DUMPABLE, _FILTER = 38, 22, 4, 2
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # _DENY: fail with EPERM

# read write close fstat lseek mmap mprotect munmap brk mremap madvise rt_sigreturn sched_yield getpid gettid exit
# exit_group times getrusage clock_gettime clock_getres gettimeofday clock_nanosleep nanosleep getrandom futex uname
# fmt: off
_CALLS = {
    "x86_64": (
        0xC000003E,
        (0, 1, 3, 5, 8, 9, 10, 11, 12, 25, 28, 15, 24, 39, 186, 60, 231, 100, 98, 228, 229, 96, 230, 35, 318, 202, 63),
    ),
    "aarch64": (
        0xC00000B7,
        (63, 64, 57, 80, 62, 222, 226, 215, 214, 216, 233, 139, 124, 172, 178, 93, 94, 153, 165, 113, 114, 169, 115,
         101, 278, 98, 160),
    ),
}
# fmt: on


def can_seal() -> bool:
    """Whether this machine is one that `seal` knows."""
    return sys.platform == "linux" and platform.machine() in _CALLS


def seal() -> None:
    """Give up every other system call, for good. Raises WorkerError where the kernel does not support it."""
    if not can_seal():
        raise WorkerError(f"no sandbox for {sys.platform} on {platform.machine()}; it needs Linux on x86_64 or aarch64")
    architecture, calls = _CALLS[platform.machine()]
    program = _program(architecture, calls)
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    for option, first, second in (
        (_DUMPABLE, zero, zero),
        (_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), zero),
        (_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.byref(header)),
    ):
        if libc.prctl(option, first, second, zero, zero) != 0:
            raise WorkerError(f"the kernel refuses to seal a process (prctl {option}: errno {ctypes.get_errno()})")


def _program(architecture: int, calls: tuple[int, ...]) -> bytes:
    """A filter over struct seccomp_data: the architecture is at offset 4, the number of the call at 0."""
    steps = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    steps += [(_JUMP_EQUAL, len(calls) - at, 0, call) for at, call in enumerate(calls)]
    steps += [(_RETURN, 0, 0, _DENY), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
