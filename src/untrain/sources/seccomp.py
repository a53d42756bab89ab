"""A filter of system calls, for a process that needs hardly any: it may read, write and seek in what is open, ask for memory and the time, and end.

The kernel refuses all else with EPERM, whoever asks: Python, a library, or code that a hole in one of them let in. It holds for all
threads and cannot be taken off. Linux on x86_64 and aarch64 alone, by `seccomp(2)` and a program of the kernel's classic BPF; it needs no
library and no rights. It is loaded by its file, as `plainfile` is, and imports nothing of untrain.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

TOLD = "makes no other call of the system"
"""What the filter is told as."""

ALLOWED = {
    # What can be called by name there, and its number; `fstat` is newfstatat in some versions of the C library.
    "x86_64": {
        **{"read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14},
        **{"rt_sigreturn": 15, "pread64": 17, "readv": 19, "writev": 20, "sched_yield": 24, "mremap": 25, "madvise": 28, "nanosleep": 35, "getpid": 39, "exit": 60},
        **{"gettimeofday": 96, "sigaltstack": 131, "gettid": 186, "futex": 202, "restart_syscall": 219, "clock_gettime": 228, "clock_nanosleep": 230},
        **{"exit_group": 231, "newfstatat": 262, "getrandom": 318},
    },
    "aarch64": {
        **{"read": 63, "write": 64, "close": 57, "fstat": 80, "lseek": 62, "mmap": 222, "mprotect": 226, "munmap": 215, "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135},
        **{"rt_sigreturn": 139, "pread64": 67, "readv": 65, "writev": 66, "sched_yield": 124, "mremap": 216, "madvise": 233, "nanosleep": 101, "getpid": 172, "exit": 93},
        **{"gettimeofday": 169, "sigaltstack": 132, "gettid": 178, "futex": 98, "restart_syscall": 128, "clock_gettime": 113, "clock_nanosleep": 115},
        **{"exit_group": 94, "newfstatat": 79, "getrandom": 278},
    },
}
"""The calls that are let through, by kind of machine."""

ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SECCOMP = {"x86_64": 317, "aarch64": 277}
"""What the kernel calls the machine, and the number of `seccomp` on it."""

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
KILL, REFUSE, ALLOW = 0x80000000, 0x00050001, 0x7FFF0000
"""Instructions of the filter, and what it can answer: the end of the process, EPERM, or a call as usual."""

NO_NEW_PRIVILEGES, SET_FILTER, ALL_THREADS = 38, 1, 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def program(machine: str) -> bytes:
    """The filter for a kind of machine: a call by another machine's numbers ends the process, one that is not allowed is refused."""
    numbers = sorted(ALLOWED[machine].values())
    steps = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, ARCHITECTURE[machine]), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    steps += [(EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    return b"".join(struct.pack("HBBI", *step) for step in (*steps, (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)))


def shut() -> bool:
    """Put up the filter for this process and all of its threads, for good; whether there is one now."""
    machine = os.uname().machine if sys.platform == "linux" else ""
    # A Python of 32 bits calls by other numbers.
    if machine not in ALLOWED or struct.calcsize("P") != 8:
        return False
    try:
        libc, steps = ctypes.CDLL(None), program(machine)
        given = _Program(len(steps) // 8, steps)
        return bool(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 and libc.syscall(SECCOMP[machine], SET_FILTER, ALL_THREADS, ctypes.byref(given)) == 0)
    except (OSError, AttributeError):
        return False
