"""The system calls that a guest may make, as a classic BPF program; all others fail with EPERM.

What is left is memory, time, signals to itself, and reading and writing descriptors that are open already: no file, no
socket, no process, no thread, no new executable memory.
"""

import ctypes
import errno

from codemode_sandboxes.linux.bpf import (
    ALLOW,
    ANY_BIT,
    ARCHITECTURES,
    EQUAL,
    LOAD,
    RETURN,
    Instruction,
    argument,
    assemble,
    refuse,
)

__all__ = ["ARCHITECTURES", "NUMBERS", "build", "install"]

NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "getpid": (39, 172),
    "exit": (60, 93),
    "gettimeofday": (96, 169),
    "getrusage": (98, 165),
    "getuid": (102, 174),
    "getgid": (104, 176),
    "geteuid": (107, 175),
    "getegid": (108, 177),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "time": (201, None),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "exit_group": (231, 94),
    "prlimit64": (302, 261),
    "getrandom": (318, 278),
    "membarrier": (324, 283),
    "rseq": (334, 293),
}
"""Allowed calls: their numbers on x86_64 and on aarch64."""

_EPERM = refuse(errno.EPERM)
_PROT_EXEC = 4


def build(machine: str) -> bytes:
    """Assemble the filter for a machine of `ARCHITECTURES`."""
    column = list(ARCHITECTURES).index(machine)
    code: list[Instruction] = []
    for name, numbers in NUMBERS.items():
        number = numbers[column]
        if number is None:
            continue
        if name in ("mmap", "mprotect"):  # never memory that can be executed
            code += [
                (EQUAL, 0, 4, number),
                (LOAD, 0, 0, argument(2)),
                (ANY_BIT, 0, 1, _PROT_EXEC),
                (RETURN, 0, 0, _EPERM),
                (RETURN, 0, 0, ALLOW),
            ]
        elif name == "prlimit64":  # its own limits, which are hard and can only go down
            code += [
                (EQUAL, 0, 4, number),
                (LOAD, 0, 0, argument(0)),
                (EQUAL, 1, 0, 0),
                (RETURN, 0, 0, _EPERM),
                (RETURN, 0, 0, ALLOW),
            ]
        else:
            code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    code.append((RETURN, 0, 0, _EPERM))
    return assemble(machine, code)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install(libc: ctypes.CDLL, code: bytes) -> None:
    """Put the filter on this process, for good. It needs no_new_privs.

    Raises:
        OSError: The kernel refuses.
    """
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    set_seccomp, mode_filter = 22, 2
    if libc.prctl(set_seccomp, mode_filter, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel refuses a seccomp filter")
