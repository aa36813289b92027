"""The system calls that a program in a jail may not make: those that reach beyond a process, or are mostly used to
attack the kernel. What restricts files, processes and the network is the jail; this is the fence behind it.
"""

import errno

from codemode_sandboxes.linux.bpf import ALLOW, ANY_BIT, EQUAL, LOAD, RETURN, Instruction, argument, assemble, refuse

__all__ = ["DENIED", "build", "kafel"]

DENIED: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "init_module": (175, 105),
    "ioperm": (173, None),
    "iopl": (172, None),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setns": (308, 268),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
"""Calls that fail with EPERM: their numbers on x86_64 and on aarch64."""

_MOUNTS = range(428, 434)  # open_tree to fspick
_NEWEST = 436  # close_range; clone3 and what is newer does not exist here, as for an older kernel
_SOCKET, _CLONE, _PRCTL, _CLONE3 = (41, 198), (56, 220), (157, 167), 435
_SET_DEATH_SIGNAL = 1  # a program that takes it back would outlive the host
_NEW_NAMESPACE = 0x7E020000
_AF_UNIX = 1
_AT_LEAST = 0x35


def build(machine: str) -> bytes:
    """Assemble the filter for a machine of `bpf.ARCHITECTURES`."""
    column = ("x86_64", "aarch64").index(machine)
    denied, missing = refuse(errno.EPERM), refuse(errno.ENOSYS)
    code: list[Instruction] = []
    for number in (*(numbers[column] for numbers in DENIED.values()), *_MOUNTS):
        if number is not None:
            code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, denied)]
    code += [
        (EQUAL, 0, 1, _CLONE3),
        (RETURN, 0, 0, missing),
        (_AT_LEAST, 0, 1, _NEWEST + 1),
        (RETURN, 0, 0, missing),
        *_unless(_CLONE[column], (ANY_BIT, 1, 0, _NEW_NAMESPACE)),
        *_unless(_SOCKET[column], (EQUAL, 0, 1, _AF_UNIX)),
        *_unless(_PRCTL[column], (EQUAL, 1, 0, _SET_DEATH_SIGNAL)),
        (RETURN, 0, 0, ALLOW),
    ]
    return assemble(machine, code)


def _unless(number: int, test: Instruction) -> list[Instruction]:
    """Allow this call where the test of its first argument goes on, and deny it where it skips one."""
    return [
        (EQUAL, 0, 4, number),
        (LOAD, 0, 0, argument(0)),
        test,
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, refuse(errno.EPERM)),
    ]


def kafel() -> str:
    """Write the filter in nsjail's language, which knows no calls by number."""
    names = ", ".join("umount" if name == "umount2" else name for name in DENIED)
    clone = f"clone(flags) {{ (flags & {_NEW_NAMESPACE:#x}) != 0 }}"
    return (
        f"ERRNO({errno.EPERM}) {{ {names}, {clone}, socket(family) {{ family != {_AF_UNIX} }}, "
        f"prctl(option) {{ option == {_SET_DEATH_SIGNAL} }} }} "
        f"ERRNO({errno.ENOSYS}) {{ clone3 }} DEFAULT ALLOW"
    )
