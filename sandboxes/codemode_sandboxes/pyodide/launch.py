"""Sets the bounds that a process can only set for itself, then becomes the guest's command.

    python -I -S -B launch.py HOST DATA_BYTES NAMESPACES COMMAND...

HOST is the host's process id: the guest is killed when the thread that started it ends. DATA_BYTES bounds its writable
memory. NAMESPACES is "yes" for namespaces of its own (user, network, IPC, UTS, processes), "command" where the command
makes them, for which it may need privileges, and "no" for none.

A wall of security, and therefore a file of its own: it runs before anything of this package is imported.
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
    """Set the bounds and run the command."""
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
    if namespaces == "yes" and libc.unshare(_NAMESPACES):
        sys.exit(f"the kernel refuses namespaces to this user: {os.strerror(ctypes.get_errno())}")
    _die_with_parent(libc)
    if os.getppid() != int(host):  # it ended before the death signal was set, which then never comes
        sys.exit(1)
    if namespaces == "yes":
        # The new namespace of processes is that of children alone.
        if (child := os.fork()) != 0:
            for descriptor in (0, 1):
                os.close(descriptor)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os._exit(status if status >= 0 else 128 - status)
        _die_with_parent(libc)
    # bwrap may be set-uid where users cannot make namespaces; it sets the flag itself.
    if namespaces != "command":
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    os.execv(command[0], command)


def _die_with_parent(libc: ctypes.CDLL) -> None:
    libc.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


main()
