"""Landlock with an empty ruleset: no path can be opened, no TCP port reached, no process outside signalled.

It is the second fence, for the case that the seccomp filter has a hole. Kernels since 5.13 have it, where it is
switched on.
"""

import ctypes
import os
import struct

__all__ = ["restrict", "version"]

_CREATE, _RESTRICT = 444, 446  # the same numbers on every machine
_ASK_VERSION = 1

# Every access that the ABI of this version can forbid. The kernel refuses bits that it does not know.
_FILES = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF}
_FILES_LATEST = 0xFFFF
_TCP = 0x3  # since version 4
_SCOPES = 0x3  # since version 6: abstract unix sockets, and signals


def version(libc: ctypes.CDLL) -> int:
    """Return the version of the kernel's Landlock ABI; 0 where there is none."""
    return max(0, int(libc.syscall(_CREATE, None, ctypes.c_size_t(0), _ASK_VERSION)))


def restrict(libc: ctypes.CDLL, abi: int) -> None:
    """Forbid this process, for good, all that this version can forbid. The process must have set no_new_privs.

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
    # No rule is added: what the ruleset handles and no rule allows is forbidden.
    failed = libc.syscall(_RESTRICT, ruleset, 0)
    os.close(ruleset)
    if failed:
        raise OSError(ctypes.get_errno(), "the kernel refuses to restrict this process by Landlock")
