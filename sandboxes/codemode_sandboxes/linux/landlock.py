"""Landlock with an empty ruleset: no path can be opened, no TCP port reached, nobody outside signalled.

The second fence, for the day that the seccomp filter has a hole. Kernels since 5.13 have it, if it is switched on.
"""

import ctypes
import os
import struct

__all__ = ["restrict", "version"]

_CREATE, _RESTRICT = 444, 446  # the same numbers on every machine
_ASK_VERSION = 1
_FILES = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF}
_FILES_LATEST = 0xFFFF
_TCP = 0x3
_SCOPES = 0x3  # abstract unix sockets, signals


def version(libc: ctypes.CDLL) -> int:
    """Give the kernel's Landlock ABI; 0 where there is none."""
    return max(0, int(libc.syscall(_CREATE, None, ctypes.c_size_t(0), _ASK_VERSION)))


def restrict(libc: ctypes.CDLL, abi: int) -> None:
    """Forbid this process, for good, all that this ABI can forbid. It needs no_new_privs.

    Raises:
        OSError: The kernel refuses.
    """
    fields = [_FILES.get(abi, _FILES_LATEST)]
    if abi >= 4:
        fields.append(_TCP)
    if abi >= 6:
        fields.append(_SCOPES)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = libc.syscall(_CREATE, ctypes.c_char_p(attributes), ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "the kernel refuses a Landlock ruleset")
    failed = libc.syscall(_RESTRICT, ruleset, 0)
    os.close(ruleset)
    if failed:
        raise OSError(ctypes.get_errno(), "the kernel refuses to restrict this process by Landlock")
