"""Seccomp filters as classic BPF programs: what every filter of this package begins with, and its instructions."""

import struct

__all__ = [
    "ALLOW",
    "ANY_BIT",
    "ARCHITECTURES",
    "EQUAL",
    "LOAD",
    "RETURN",
    "Instruction",
    "argument",
    "assemble",
    "refuse",
]

Instruction = tuple[int, int, int, int]
"""Code, instructions to skip where true, where false, operand."""

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Machine names, as `platform.machine()` gives them, to the kernel's audit numbers."""

LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW = 0x7FFF0000

_AT_LEAST = 0x35
_KILL = 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_X32 = 0x40000000


def argument(index: int) -> int:
    """The operand with which `LOAD` gives a system call's argument: its low half, both machines being little-endian."""
    return _ARGUMENTS + 8 * index


def refuse(error: int) -> int:
    """The operand with which `RETURN` makes a system call fail with this error number."""
    return 0x00050000 | error


def assemble(machine: str, rules: list[Instruction]) -> bytes:
    """Put a filter together.

    Args:
        machine: One of `ARCHITECTURES`. A call by another machine's numbers kills the process.
        rules: The filter. The call's number is loaded; after it has loaded something else a rule must end.
    """
    code = [
        (LOAD, 0, 0, _ARCHITECTURE),
        (EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, _KILL),
        (LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32), (RETURN, 0, 0, _KILL)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in (*code, *rules))
