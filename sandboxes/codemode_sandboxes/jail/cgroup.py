"""Control groups: memory and tasks bounded for all processes of a guest together. Both of the kernel's versions."""

import asyncio
import contextlib
import itertools
import os
import signal
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Cgroups", "Leaf"]

_MOUNT = Path("/sys/fs/cgroup")
_LEAVE_SECONDS = 5.0
_AT_EXIT_SECONDS = 0.5


class Cgroups:
    """Where this process may make control groups.

    Use `find`. Leaves that a dead host left are removed when it is found.

    Args:
        version: The kernel's, 1 or 2.
        memory: The folder for groups that bound memory.
        pids: The one for groups that bound tasks; with version 2 it is the same.
    """

    def __init__(self, version: int, memory: Path, pids: Path) -> None:
        self.version, self._parents = version, tuple(dict.fromkeys((memory, pids)))
        self._prefix = f"codemode-{_pid_namespace()}-"
        self._count = itertools.count(1)
        self._left: set[Leaf] = set()
        self._sweep_dead()
        weakref.finalize(self, _remove_now, self._left, os.getpid())

    @classmethod
    def find(cls, mount: Path = _MOUNT, own: Path = Path("/proc/self/cgroup")) -> "Cgroups | None":
        """Find the nearest place, or None where this process may not make groups that bound memory and tasks."""
        try:
            lines = own.read_text().splitlines()
        except OSError:
            return None
        for version, memory, pids in _places(mount, lines):
            with contextlib.suppress(OSError):
                found = cls(version, memory, pids)
                leaf = found.leaf(tasks=1)
                try:
                    leaf.limit_memory(1 << 30)
                    return found
                finally:
                    leaf.discard()
        return None

    def leaf(self, *, tasks: int) -> "Leaf":
        """Make a group for one guest.

        Args:
            tasks: Processes and threads that it may have.

        Raises:
            OSError: The kernel refuses.
        """
        for left in list(self._left):
            if left.discarded:
                left.remove_now()
        name = f"{self._prefix}{os.getpid()}-{next(self._count)}"
        leaf = Leaf(self.version, tuple(parent / name for parent in self._parents), self._left)
        leaf.make(tasks)
        return leaf

    def _sweep_dead(self) -> None:
        for parent in self._parents:
            for path in parent.glob(f"{self._prefix}*-*"):
                host = path.name.removeprefix(self._prefix).partition("-")[0]
                if host.isdigit() and not Path(f"/proc/{host}").exists():
                    Leaf(self.version, (path,), set()).remove_now()


class Leaf:
    """The group of one guest, made by `Cgroups.leaf`.

    Attributes:
        discarded: Whether nobody needs it any more, though it is there still.
    """

    def __init__(self, version: int, paths: tuple[Path, ...], left: "set[Leaf]") -> None:
        self._version, self._paths, self._left = version, paths, left
        self.discarded = False

    @property
    def joins(self) -> tuple[Path, ...]:
        """Files that put the process that writes 0 to them into the group."""
        return tuple(path / "cgroup.procs" for path in self._paths)

    def make(self, tasks: int) -> None:
        """Make its folders, and bound its tasks."""
        self._left.add(self)
        try:
            for path in self._paths:
                path.mkdir()
            (self._paths[-1] / "pids.max").write_text(str(tasks))
        except OSError:
            self.discard()
            raise

    def limit_memory(self, size: int) -> None:
        """Bound the memory of all its processes, in bytes, swap included where the kernel counts it.

        Raises:
            OSError: The kernel refuses.
        """
        names = ("memory.max", "memory.swap.max") if self._version == 2 else _V1_LIMITS
        (self._paths[0] / names[0]).write_text(str(size))
        with contextlib.suppress(OSError):
            (self._paths[0] / names[1]).write_text("0" if self._version == 2 else str(size))
        if self._version == 2:
            with contextlib.suppress(OSError):
                (self._paths[0] / "memory.oom.group").write_text("1")

    def out_of_memory(self) -> bool:
        """Whether the kernel ended one of its processes for its memory."""
        name = "memory.events" if self._version == 2 else "memory.oom_control"
        with contextlib.suppress(OSError):
            lines = (self._paths[0] / name).read_text().splitlines()
            return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in lines)
        return False

    async def remove(self) -> None:
        """Remove it, once the kernel has cleared its processes away; they are ended if they are there still."""
        end, pause = time.monotonic() + _LEAVE_SECONDS, 0.001
        while not self.remove_now() and time.monotonic() < end:
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.05)

    def discard(self) -> None:
        """Do without it; it is removed now or, where it has processes still, with the next group that is made."""
        self.discarded = True
        self.remove_now()

    def remove_now(self) -> bool:
        """End what runs in it and remove it. Returns whether it is gone."""
        self.discarded = True
        gone = True
        for path in self._paths:
            try:
                path.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
                for pid in _members(path):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
        if gone:
            self._left.discard(self)
        return gone


_V1_LIMITS = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")


def _places(mount: Path, lines: list[str]) -> Iterator[tuple[int, Path, Path]]:
    own = {name: path for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")}
    if "memory" in own and "pids" in own:
        yield 1, _nearest(mount / "memory", own["memory"]), _nearest(mount / "pids", own["pids"])
    elif "" in own:
        place = _nearest(mount, own[""])
        for folder in (place, *(parent for parent in place.parents if parent.is_relative_to(mount))):
            with contextlib.suppress(OSError):  # only what children are given can be bounded in them
                if {"memory", "pids"} <= set((folder / "cgroup.subtree_control").read_text().split()):
                    yield 2, folder, folder


def _nearest(mount: Path, own: str) -> Path:
    place = mount / own.lstrip("/")
    return place if place.is_dir() else mount  # in a container its own group may be what is mounted


def _members(path: Path) -> list[int]:
    with contextlib.suppress(OSError):
        return [pid for pid in map(int, (path / "cgroup.procs").read_text().split()) if pid]
    return []


def _pid_namespace() -> str:
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")  # noqa: PTH115 - a link to no path
    return "0"


def _remove_now(left: "set[Leaf]", owner: int) -> None:
    end = time.monotonic() + _AT_EXIT_SECONDS
    while left and os.getpid() == owner and time.monotonic() < end:
        for leaf in list(left):
            leaf.remove_now()
        time.sleep(0.002)
