"""Everything that a guest of `restricted` gives up before it reads a program, in the only order in which it can."""

import ctypes
import errno
import os
import platform
import resource
import socket
import struct
from contextlib import suppress
from pathlib import Path

from codemode_sandboxes.linux import landlock, seccomp

__all__ = ["Lockdown", "open_libc"]

NOBODY = 65534

# Operations of prctl.
_SET_DEATH_SIGNAL, _SET_DUMPABLE, _DROP_FROM_BOUND, _NO_NEW_PRIVILEGES = 1, 4, 24, 38
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITIES_V3 = 0x20080522
_CAN_CHANGE_USER = (5, 6, 7)  # CAP_KILL, as the host must still be able to end the guest; CAP_SETGID; CAP_SETUID
_NEW_USER, _NEW_NETWORK_IPC_UTS = 0x10000000, 0x40000000 | 0x08000000 | 0x04000000
_STACK_BYTES = 8 << 20


def open_libc() -> ctypes.CDLL:
    """Open the C library. Its functions set `ctypes.get_errno()`."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 4]
    return libc


class Lockdown:
    """The steps down, prepared once in the fork server and taken in each child.

    Attributes:
        layers: Names of what stands around a child, the strongest first.
    """

    def __init__(self, libc: ctypes.CDLL) -> None:
        self._libc = libc
        self._machine = platform.machine()
        self._filter = seccomp.build_allow_list(self._machine)
        self._landlock = landlock.version(libc)
        self._to_nobody = os.geteuid() == 0 and _has_capabilities(_CAN_CHANGE_USER)
        self._last_capability = _last_capability()
        namespaces = self._enter_namespaces()
        self.layers = ["seccomp"]
        if self._landlock:
            self.layers.append(f"landlock {self._landlock}")
        if namespaces:
            self.layers.append("namespaces")
        if self._to_nobody:
            self.layers.append("nobody")
        self.layers += ["no_new_privs", "rlimits"]

    def _enter_namespaces(self) -> bool:
        # The server enters them once for all its children, which could not use a network even if they had sockets. An
        # ordinary user may do so inside a user namespace; some systems forbid that too.
        return any(self._libc.unshare(flags) == 0 for flags in (_NEW_NETWORK_IPC_UTS, _NEW_USER | _NEW_NETWORK_IPC_UTS))

    def apply(self, parent: int) -> None:
        """Lock this process down, for good.

        Args:
            parent: The fork server's process id. Where the server is gone, this process ends.

        Raises:
            OSError: A step failed, or the filter does not hold.
        """
        prctl = self._libc.prctl
        # The filter forbids what these limits bound, but for the stack; they stand behind it.
        for limit, value in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_NPROC, 0),
            (resource.RLIMIT_MEMLOCK, 0),
            (resource.RLIMIT_MSGQUEUE, 0),
            (resource.RLIMIT_STACK, min(_STACK_BYTES, *_finite(resource.getrlimit(resource.RLIMIT_STACK)))),
        ):
            resource.setrlimit(limit, (value, value))
        # First out of the bounding set, while the right to do so is left: no program that is executed could gain them.
        for capability in range(self._last_capability + 1):
            prctl(_DROP_FROM_BOUND, capability, None, None, None)
        # Without any capability root would still be the owner of the system's files.
        if self._to_nobody:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        header = struct.pack("=Ii", _CAPABILITIES_V3, 0)
        if self._libc.syscall(_CAPSET[self._machine], ctypes.c_char_p(header), ctypes.c_char_p(bytes(24))):
            raise OSError(ctypes.get_errno(), "the capabilities cannot be dropped")
        if prctl(_NO_NEW_PRIVILEGES, 1, None, None, None):
            raise OSError(ctypes.get_errno(), "no_new_privs cannot be set")
        # A change of user clears the death signal, so it is set after that. The server may have ended before it was set.
        prctl(_SET_DEATH_SIGNAL, 9, None, None, None)
        prctl(_SET_DUMPABLE, 0, None, None, None)  # other guests run as the same user: none may trace this one
        if os.getppid() != parent:
            os._exit(0)
        if self._landlock:
            landlock.restrict(self._libc, self._landlock)
        # Last, as Landlock needs a descriptor and the filter forbids every step above.
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
        seccomp.install(self._libc, self._filter)
        _check()


def _check() -> None:
    # A filter that is built or installed wrongly would show in nothing else. EPERM alone proves it: opening fails with
    # EMFILE anyway, and forking with EAGAIN.
    for attempt in (
        lambda: os.open("/", os.O_RDONLY),
        lambda: os.stat("/"),  # noqa: PTH116 - the call itself is the test
        lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        lambda: os.kill(os.getpid(), 0),
        lambda: os.fork(),
    ):
        try:
            attempt()
        except OSError as error:
            if error.errno == errno.EPERM:
                continue
        raise OSError(errno.EPERM, "the seccomp filter does not hold")


def _has_capabilities(capabilities: tuple[int, ...]) -> bool:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                effective = int(line.split()[1], 16)
                return all(effective >> capability & 1 for capability in capabilities)
    return False


def _last_capability() -> int:
    with suppress(OSError, ValueError):
        return int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    return 63


def _finite(limits: tuple[int, int]) -> list[int]:
    return [limit for limit in limits if limit != resource.RLIM_INFINITY]
