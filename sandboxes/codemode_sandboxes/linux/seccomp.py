"""Seccomp filters as classic BPF programs: the system calls that a guest may make.

There are two. The allow list is for `restricted`, where the filter is the wall itself: memory, time, signals to oneself
and open descriptors remain; no file, no socket, no process, no thread, no new executable memory. The deny list is for
jails, whose walls are namespaces: it takes away what reaches past a namespace or serves mostly to attack the kernel.
"""

import ctypes
import errno
import struct

__all__ = [
    "ALLOWED",
    "ARCHITECTURES",
    "DENIED",
    "build_allow_list",
    "build_deny_list",
    "install",
    "write_kafel_deny_list",
]

Instruction = tuple[int, int, int, int]
"""Operation, instructions to skip where the test holds, instructions to skip where it does not, operand."""

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Machine names, as `platform.machine()` returns them, to the kernel's audit numbers."""

ALLOWED: dict[str, tuple[int | None, int | None]] = {
    # Descriptors that are open already. `fstat` and `fcntl` are missing on purpose: CPython does without them here.
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "lseek": (8, 62),
    # Memory, for malloc. `mmap` and `mprotect` are bounded further, see `build_allow_list`.
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    # Handling signals, not sending them. The kernel itself resumes an interrupted wait with `restart_syscall`.
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    # Facts about the process itself.
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "getgid": (104, 176),
    "geteuid": (107, 175),
    "getegid": (108, 177),
    "getrusage": (98, 165),
    "sched_getaffinity": (204, 123),
    "prlimit64": (302, 261),
    # Time, and locks within the process. glibc uses `rseq` and `membarrier` by itself.
    "gettimeofday": (96, 169),
    "time": (201, None),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "sched_yield": (24, 124),
    "futex": (202, 98),
    "membarrier": (324, 283),
    "rseq": (334, 293),
    "getrandom": (318, 278),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
"""The calls of the allow list, all others fail with EPERM: their numbers on x86_64 and on aarch64."""

DENIED: dict[str, tuple[int | None, int | None]] = {
    # Large interfaces of the kernel with a history of privilege escalation, which no program needs.
    "bpf": (321, 280),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    # Other processes' memory and state. A namespace hides those outside, so this is the second fence.
    "kcmp": (312, 272),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    # Keyrings belong to a user, not to a namespace: they would be shared with everything that runs as that user.
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "request_key": (249, 218),
    # New namespaces and mounts: inside a user namespace of its own a program would have every capability again.
    "chroot": (161, 51),
    "mount": (165, 40),
    "pivot_root": (155, 41),
    "setns": (308, 268),
    "umount2": (166, 39),
    "unshare": (272, 97),
    # A file handle opens a file past every mount and path that the jail was given.
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # Files and accounting of the whole machine.
    "acct": (163, 89),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    # The machine's clock, devices, modules and power.
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "finit_module": (313, 273),
    "init_module": (175, 105),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "reboot": (169, 142),
    # Turns off the randomisation of addresses.
    "personality": (135, 92),
}
"""The calls of the deny list, which fail with EPERM: their numbers on x86_64 and on aarch64."""

# Numbers from 424 on are the same on every machine.
_NEW_MOUNT_CALLS = range(428, 434)  # open_tree to fspick
_CLONE3 = 435
_NEWEST = 436  # close_range, the newest call that this list was checked against
_SOCKET, _CLONE, _PRCTL = (41, 198), (56, 220), (157, 167)
_SET_DEATH_SIGNAL = 1
_NEW_NAMESPACE = 0x7E020000  # every CLONE_NEW flag that `clone` takes
_AF_UNIX = 1
_PROT_EXEC = 4

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL_PROCESS, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in the kernel's `struct seccomp_data`
_FIRST_X32_CALL = 0x40000000
_REFUSE: Instruction = (_RETURN, 0, 0, _FAIL | errno.EPERM)


def build_allow_list(machine: str) -> bytes:
    """Assemble the filter of `restricted` for a machine of `ARCHITECTURES`."""
    tests: dict[str, tuple[int, Instruction]] = {
        # A program that could make memory executable could run machine code: CPython's own checks would be no wall.
        "mmap": (2, (_ANY_BIT, 1, 0, _PROT_EXEC)),
        "mprotect": (2, (_ANY_BIT, 1, 0, _PROT_EXEC)),
        # Process 0 means the caller. Its limits are hard already and can only go down; those of others are not its own.
        "prlimit64": (0, (_EQUAL, 0, 1, 0)),
    }
    rules: list[Instruction] = []
    for name, number in _numbers(ALLOWED, machine):
        if name in tests:
            rules += _allow_if(number, *tests[name])
        else:
            rules += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    return _assemble(machine, [*rules, _REFUSE])


def build_deny_list(machine: str) -> bytes:
    """Assemble the filter of jails for a machine of `ARCHITECTURES`."""
    column = list(ARCHITECTURES).index(machine)
    missing: Instruction = (_RETURN, 0, 0, _FAIL | errno.ENOSYS)
    rules: list[Instruction] = []
    for number in (*(number for _, number in _numbers(DENIED, machine)), *_NEW_MOUNT_CALLS):
        rules += [(_EQUAL, 0, 1, number), _REFUSE]
    rules += [
        # `clone3` has its flags in memory, where a filter cannot look. With ENOSYS glibc falls back to `clone`.
        (_EQUAL, 0, 1, _CLONE3),
        missing,
        # Nobody has judged calls that are newer than this list, so the guest's kernel appears to be an older one.
        (_AT_LEAST, 0, 1, _NEWEST + 1),
        missing,
        *_allow_if(_CLONE[column], 0, (_ANY_BIT, 1, 0, _NEW_NAMESPACE)),
        # There is no network, but netlink, vsock and others reach into the kernel or the hypervisor without one.
        *_allow_if(_SOCKET[column], 0, (_EQUAL, 0, 1, _AF_UNIX)),
        # A program that takes back its death signal would outlive the host.
        *_allow_if(_PRCTL[column], 0, (_EQUAL, 1, 0, _SET_DEATH_SIGNAL)),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return _assemble(machine, rules)


def write_kafel_deny_list() -> str:
    """Write the deny list in kafel, nsjail's language for filters.

    Kafel knows calls by name alone, so the newer ones are not in it; a program in a jail has no capability to use the
    mount calls among them with.
    """
    names = ", ".join("umount" if name == "umount2" else name for name in DENIED)
    clone = f"clone(flags) {{ (flags & {_NEW_NAMESPACE:#x}) != 0 }}"
    return (
        f"ERRNO({errno.EPERM}) {{ {names}, {clone}, socket(family) {{ family != {_AF_UNIX} }}, "
        f"prctl(option) {{ option == {_SET_DEATH_SIGNAL} }} }} "
        f"ERRNO({errno.ENOSYS}) {{ clone3 }} DEFAULT ALLOW"
    )


def _numbers(calls: dict[str, tuple[int | None, int | None]], machine: str) -> list[tuple[str, int]]:
    column = list(ARCHITECTURES).index(machine)
    return [(name, number) for name, numbers in calls.items() if (number := numbers[column]) is not None]


def _allow_if(number: int, argument: int, test: Instruction) -> list[Instruction]:
    """Decide on one call by one of its arguments: allow it where the test skips nothing, refuse it where it skips one.

    The test sees the argument's low half, both machines being little-endian. The kernel itself reads no more of the
    arguments that are tested here: flags below 2**32, and C integers.
    """
    # The argument replaces the call's number in the accumulator, so both ways end here.
    return [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, _ARGUMENTS + 8 * argument), test, (_RETURN, 0, 0, _ALLOW), _REFUSE]


def _assemble(machine: str, rules: list[Instruction]) -> bytes:
    """Join the rules to what every filter begins with: the call's number in the accumulator, on the right machine."""
    # The same number means another call to a 32-bit process, or with the x32 bit. Both are ways around any list of
    # numbers, and nothing uses them by accident: the process is killed.
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _FIRST_X32_CALL), (_RETURN, 0, 0, _KILL_PROCESS)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in (*code, *rules))


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install(libc: ctypes.CDLL, code: bytes) -> None:
    """Put a filter on this process, for good. The process must have set no_new_privs.

    Raises:
        OSError: The kernel refuses.
    """
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    set_seccomp, mode_filter = 22, 2
    if libc.prctl(set_seccomp, mode_filter, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel refuses a seccomp filter")
