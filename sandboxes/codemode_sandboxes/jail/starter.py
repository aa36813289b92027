"""Starts guests in jails."""

import os
import shutil
from collections.abc import Callable, Sequence
from typing import NamedTuple

from codemode_sandboxes.jail.cgroup import Cgroups, Leaf
from codemode_sandboxes.jail.process import JailNewborn
from codemode_sandboxes.process.pool import StartFailed
from codemode_sandboxes.process.spawn import launch

__all__ = ["NOBODY", "TASKS", "Jail", "JailCommand", "JailStarter", "find_setpriv"]

NOBODY = 65534
TASKS = 32
"""Processes and threads that a program may have where a control group bounds their memory together; else one."""

_JAILS_OWN_TASKS = 4
_STARTING = max(4, 2 * (os.cpu_count() or 1))
_JOIN = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 1; shift; done; shift; exec "$@"'
_LIMITS = {"core": 0, "fsize": 16 << 20, "memlock": 0, "msgqueue": 0, "nofile": 256}


class JailCommand(NamedTuple):
    """A jail's command line without what runs in it, and the descriptors that it reads, which its starter closes."""

    argv: list[str]
    pass_fds: tuple[int, ...] = ()


Jail = Callable[[], JailCommand]
"""Gives the command that starts one jail."""


class JailStarter:
    """Starts jails. Implements `Starter`.

    Args:
        jail: The jail.
        guest: What runs in it.
        cgroups: Where control groups are made, if anywhere.
    """

    alive = True

    def __init__(self, jail: Jail, guest: Sequence[str], cgroups: Cgroups | None) -> None:
        self._jail, self._guest, self._cgroups = jail, tuple(guest), cgroups
        self._starting: list[JailNewborn] = []

    def fork(self) -> "JailNewborn":
        """Start a guest; see `Starter`."""
        self._starting = [newborn for newborn in self._starting if newborn.starting]
        if len(self._starting) >= _STARTING:
            raise BlockingIOError("enough guests are starting")
        leaf = self._cgroups.leaf(tasks=TASKS + _JAILS_OWN_TASKS) if self._cgroups is not None else None
        try:
            jail, descriptors = self._jail()
            limits = _LIMITS | {"nproc": TASKS if leaf is not None else 0}
            guest = [*self._guest, *(f"{name}={value}" for name, value in limits.items())]
            try:
                started = launch([*_prefix(leaf), *jail, *guest], pass_fds=descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
        except BaseException:
            if leaf is not None:
                leaf.discard()
            raise
        newborn = JailNewborn(started, leaf)
        self._starting.append(newborn)
        return newborn

    def close(self) -> None:
        """There is nothing to end but the guests."""


def _prefix(leaf: Leaf | None) -> list[str]:
    """Join the group, then become nobody: within a user namespace of root's, a guest's files would be root's."""
    prefix: list[str] = []
    if leaf is not None:
        prefix += ["/bin/sh", "-c", _JOIN, "sh", *map(str, leaf.joins), "--"]
    if os.geteuid() == 0:
        user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
        if (setpriv := find_setpriv()) is None:
            raise StartFailed("root needs the command setpriv, of the package util-linux")
        prefix += [setpriv, *user, "--no-new-privs", "--pdeathsig=SIGKILL", "--"]
    return prefix


def find_setpriv() -> str | None:
    """Find the command with which root becomes another user."""
    return shutil.which("setpriv", path=os.defpath)
