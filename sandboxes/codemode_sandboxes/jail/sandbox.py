"""The common part of bubblewrap and nsjail: how a jail is started, and the sandbox whose guests live in jails."""

import asyncio
import os
import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from codemode_sandboxes.contract import Capabilities, Limits, Program
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.image import Image, ImageError, build_image
from codemode_sandboxes.jail.cgroup import Cgroups, Leaf
from codemode_sandboxes.jail.process import JailNewborn, JailProcess
from codemode_sandboxes.process.channel import StreamChannel
from codemode_sandboxes.process.execution import ProcessExecution
from codemode_sandboxes.process.pool import GuestPool, StartFailed
from codemode_sandboxes.process.sandbox import ELSEWHERE, ProcessSandbox, ask, require_linux
from codemode_sandboxes.process.spawn import launch

__all__ = [
    "ALLOW_NAMESPACES",
    "NOBODY",
    "TASKS",
    "TMP_BYTES",
    "Jail",
    "JailCommand",
    "JailSandbox",
    "JailStarter",
    "find_setpriv",
]

NOBODY = 65534
TASKS = 32
"""Processes and threads that a program may have where a control group bounds their memory together; else one."""

TMP_BYTES = 16 << 20
"""What a program may write to its `/tmp`."""

ALLOW_NAMESPACES = (
    "It needs user namespaces: where the system forbids them to ordinary users, allow them; "
    "inside a Docker container, start it with --security-opt seccomp=unconfined"
)
"""The remedy where a jail does not start."""

_REFILL_SECONDS = 0.05  # the run that took the spare has the processor first
_HEADROOM_BYTES = TMP_BYTES + (32 << 20)  # a control group counts files in /tmp, and the interpreter itself
_JAILS_OWN_TASKS = 4
_MOST_STARTING = max(4, 2 * (os.cpu_count() or 1))  # with more, each start takes longer and none ends sooner
_LIMITS = {"core": 0, "fsize": TMP_BYTES, "memlock": 0, "msgqueue": 0, "nofile": 256}

# Joins the groups before the jail starts: whatever the jail and the guest do after, they are in them.
_JOIN = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 1; shift; done; shift; exec "$@"'


class JailCommand(NamedTuple):
    """A jail's command line without what runs in it, and the descriptors that it reads, which its starter closes."""

    argv: list[str]
    pass_fds: tuple[int, ...] = ()


Jail = Callable[[], JailCommand]
"""Returns the command that starts one jail."""


class JailStarter:
    """Starts jails. Implements `Starter`.

    Args:
        jail: The jail.
        guest: The command that runs in it.
        cgroups: Where control groups are made, if anywhere.
    """

    alive = True

    def __init__(self, jail: Jail, guest: Sequence[str], cgroups: Cgroups | None) -> None:
        self._jail, self._guest, self._cgroups = jail, tuple(guest), cgroups
        self._starting: list[JailNewborn] = []

    def fork(self) -> JailNewborn:
        """Start a guest; see `Starter`."""
        self._starting = [newborn for newborn in self._starting if newborn.starting]
        if len(self._starting) >= _MOST_STARTING:
            raise BlockingIOError("enough guests are starting")
        leaf = self._cgroups.leaf(tasks=TASKS + _JAILS_OWN_TASKS) if self._cgroups is not None else None
        try:
            jail, descriptors = self._jail()
            # Each process may use the whole memory limit, so without a group there may be only one.
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
        """Do nothing: the guests are all that there is to end."""


def find_setpriv() -> str | None:
    """Return the path of the command with which root becomes another user; None where there is none."""
    return shutil.which("setpriv", path=os.defpath)


def _prefix(leaf: Leaf | None) -> list[str]:
    """Return the commands around the jail: the first joins the control group, the second gives up being root."""
    prefix: list[str] = []
    if leaf is not None:
        prefix += ["/bin/sh", "-c", _JOIN, "sh", *map(str, leaf.joins), "--"]
    if os.geteuid() == 0:
        # The user of a namespace that root makes is root outside it: the guest would own root's files.
        user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
        if (setpriv := find_setpriv()) is None:
            raise StartFailed("root needs the command setpriv, of the package util-linux")
        prefix += [setpriv, *user, "--no-new-privs", "--pdeathsig=SIGKILL", "--"]
    return prefix


class _Parts(NamedTuple):
    """The parts that a jail needs and this machine has."""

    image: Image
    jail: Jail
    cgroups: Cgroups | None


class JailSandbox(ProcessSandbox[JailStarter]):
    """Runs programs in jails around an image of Python. Linux only.

    A program sees the image, read-only, a `/tmp` of its own of 16 MB that ends with it, and nothing else: no other
    file, no network, no process but its own, no environment. It may use threads and processes, 32 together, where a
    control group can bound their memory together; elsewhere it may not.

    Args:
        spares: Jails kept ready; each holds about 12 MB and saves about 100 ms.
        python: Path of the interpreter that the image is made of; this process's own by default.
        executable: Path of the jail's command.
    """

    name: str

    def __init__(self, *, spares: int = 2, python: str | None = None, executable: str | None = None) -> None:
        self._python, self._command = python or sys.executable, executable
        self._finding = threading.Lock()
        self._found: _Parts | None = None
        super().__init__(GuestPool(self._starter, spares, refill_after=_REFILL_SECONDS))

    def _executable(self) -> str:
        """Return the path of the jail's command.

        Raises:
            SandboxUnavailable: It is not installed.
        """
        raise NotImplementedError

    def _jail(self, executable: str, image: Image) -> Jail:
        """Prepare the jail's command."""
        raise NotImplementedError

    @property
    def layers(self) -> tuple[str, ...]:
        """The walls between a program and the host here, such as "namespaces", "seccomp", "cgroup v2".

        Raises:
            SandboxUnavailable: The sandbox cannot run here.
        """
        cgroups = self._find().cgroups
        group = (f"cgroup v{cgroups.version}",) if cgroups is not None else ()
        nobody = ("nobody",) if os.geteuid() == 0 else ()
        return ("namespaces", "seccomp", *group, *nobody, "no_new_privs", "rlimits")

    async def start(self, program: Program, limits: Limits = Limits()) -> ProcessExecution:  # noqa: B008 - frozen
        """Take a guest for a program; see `Sandbox`. The first start on a machine makes the image, in some seconds."""
        if self._found is None or not self._found.image.root.exists():  # the image is in a cache, which may be emptied
            self._found = None
            await asyncio.to_thread(self._find)
        return await super().start(program, limits)

    def _find(self) -> _Parts:
        with self._finding:
            if self._found is None:
                require_linux(self.name)
                executable = self._executable()
                if os.geteuid() == 0 and not _is_open_to_all(Path(executable)):
                    reason = f"the user that guests run as may not run {executable}"
                    raise SandboxUnavailable(self.name, reason, "Install it where everybody may read")
                try:
                    image = build_image(self._python)
                except ImageError as error:
                    raise SandboxUnavailable(self.name, str(error), ELSEWHERE) from error
                self._found = _Parts(image, self._jail(executable, image), Cgroups.find())
            return self._found

    def _starter(self) -> JailStarter:
        found = self._find()
        return JailStarter(found.jail, found.image.command, found.cgroups)

    def _confine(self, channel: StreamChannel, limits: Limits) -> None:
        assert isinstance(channel.process, JailProcess)
        try:
            channel.process.limit_memory(limits.memory_bytes + _HEADROOM_BYTES)
        except OSError as error:
            raise self._unavailable(f"the kernel refuses to limit its memory: {error.strerror}") from None

    def _unavailable(self, reason: str) -> SandboxUnavailable:
        return SandboxUnavailable(self.name, reason, ALLOW_NAMESPACES)

    async def _ask(self) -> Capabilities:
        pool = GuestPool(self._starter, spares=0)
        try:
            return await ask(pool, boundary="os", unavailable=self._unavailable)
        finally:
            pool.close()


def _is_open_to_all(path: Path) -> bool:
    path = path.resolve()
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))
