"""Puts the fences around a guest that a process can only put around itself, then becomes the guest's command.

    python -I -S -B launch.py HOST DATA_BYTES NAMESPACES COMMAND...

HOST is the host's process id: the guest is killed with the thread that started it. DATA_BYTES bounds its writable
memory. NAMESPACES is "yes" for a user, a network, an IPC, a UTS and a process namespace of its own, "command" where the
command makes such, for which it may need its privileges, and "no" where it does without.
"""

import ctypes
import os
import resource
import signal
import sys
from typing import NoReturn

_SET_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38
_NAMESPACES = 0x10000000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x20000000


def main() -> NoReturn:
    """Do it."""
    host, data, namespaces, *command = sys.argv[1:]
    os.chdir("/")
    libc = ctypes.CDLL(None, use_errno=True)
    for limit, value in (
        (resource.RLIMIT_DATA, int(data)),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 256),
    ):
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    if namespaces == "yes":
        if libc.unshare(_NAMESPACES):
            sys.exit(f"the kernel refuses namespaces to this user: {os.strerror(ctypes.get_errno())}")
        _die_with_parent(libc)
        if os.getppid() != int(host):
            sys.exit(1)
        if (child := os.fork()) != 0:
            for descriptor in (0, 1):
                os.close(descriptor)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os._exit(status if status >= 0 else 128 - status)
        _die_with_parent(libc)
    else:
        _die_with_parent(libc)
        if os.getppid() != int(host):
            sys.exit(1)
    if namespaces != "command":
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    os.execv(command[0], command)


def _die_with_parent(libc: ctypes.CDLL) -> None:
    libc.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


main()
