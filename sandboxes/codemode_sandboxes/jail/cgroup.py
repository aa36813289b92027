"""Control groups: bounds on the memory and the tasks of all of a guest's processes together, in either version."""

import asyncio
import contextlib
import os
import secrets
import signal
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Cgroups", "Leaf"]

_MOUNT = Path("/sys/fs/cgroup")
_REMOVE_SECONDS = 5.0
_AT_EXIT_SECONDS = 0.5  # the interpreter's end may not hang; what is left then, the next host removes
_V1_LIMITS = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")


class Cgroups:
    """A place in the kernel's tree where this process may make control groups. Get it by `find`.

    Making one removes the groups that dead hosts left in that place.

    Args:
        version: The kernel's version of control groups, 1 or 2.
        memory: The folder for groups that bound memory.
        pids: The folder for groups that bound tasks; in version 2 the same.
    """

    def __init__(self, version: int, memory: Path, pids: Path) -> None:
        self.version, self._parents = version, tuple(dict.fromkeys((memory, pids)))
        # A process id means nothing outside its namespace, and hosts in several containers may share one folder.
        self._prefix = f"codemode-{_pid_namespace()}-"
        self._remainders: set[Leaf] = set()
        self._remove_dead()
        weakref.finalize(self, _remove_all, self._remainders, os.getpid())

    @classmethod
    def find(cls, mount: Path = _MOUNT, own: Path = Path("/proc/self/cgroup")) -> "Cgroups | None":
        """Return the nearest place, or None where this process may not make groups that bound memory and tasks."""
        try:
            lines = own.read_text().splitlines()
        except OSError:
            return None
        for version, memory, pids in _places(mount, lines):
            with contextlib.suppress(OSError):
                found = cls(version, memory, pids)
                # Permissions do not say enough: the folder may be writable and its controllers switched off.
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
            tasks: The number of processes and threads that it may have.

        Raises:
            OSError: The kernel refuses.
        """
        for leaf in list(self._remainders):
            if leaf.discarded:
                leaf.remove_now()
        # The token sets apart the sandboxes of one process, which know nothing of each other. The process id is read
        # anew: a fork of the host has this object too.
        pid = os.getpid()
        name = f"{self._prefix}{pid}-{_start_time(pid)}-{secrets.token_hex(8)}"
        leaf = Leaf(self.version, tuple(parent / name for parent in self._parents), self._remainders)
        leaf.make(tasks)
        return leaf

    def _remove_dead(self) -> None:
        for parent in self._parents:
            for path in parent.glob(f"{self._prefix}*-*-*"):
                pid, start_time, *_ = path.name.removeprefix(self._prefix).split("-")
                # Process ids are used again, so the time of the start has to agree too.
                if pid.isdigit() and _start_time(int(pid)) != start_time:
                    Leaf(self.version, (path,), set()).remove_now()


class Leaf:
    """The group of one guest, made by `Cgroups.leaf`.

    Attributes:
        discarded: Whether nobody needs the group any more, though it may still exist.
    """

    def __init__(self, version: int, paths: tuple[Path, ...], remainders: "set[Leaf]") -> None:
        self._version, self._paths, self._remainders = version, paths, remainders
        self.discarded = False

    @property
    def joins(self) -> tuple[Path, ...]:
        """Files that put the process that writes 0 to them into the group."""
        return tuple(path / "cgroup.procs" for path in self._paths)

    def make(self, tasks: int) -> None:
        """Make the group's folders, and bound its tasks.

        Raises:
            OSError: The kernel refuses. Nothing is left of the group then.
        """
        paths, self._paths = self._paths, ()
        self._remainders.add(self)
        try:
            for path in paths:
                path.mkdir()
                # Only from here on is the folder this group's own: discarding it kills what runs in it.
                self._paths += (path,)
            (self._paths[-1] / "pids.max").write_text(str(tasks))
        except OSError:
            self.discard()
            raise

    def limit_memory(self, size: int) -> None:
        """Bound the memory of all processes in the group, in bytes, swap included where the kernel counts it.

        Raises:
            OSError: The kernel refuses.
        """
        names = ("memory.max", "memory.swap.max") if self._version == 2 else _V1_LIMITS
        (self._paths[0] / names[0]).write_text(str(size))
        # Kernels without accounting of swap lack the second file. Version 1 counts memory and swap as one sum.
        with contextlib.suppress(OSError):
            (self._paths[0] / names[1]).write_text("0" if self._version == 2 else str(size))
        if self._version == 2:
            # Else the kernel might end a child of the program and leave the program to wait for it.
            with contextlib.suppress(OSError):
                (self._paths[0] / "memory.oom.group").write_text("1")

    def out_of_memory(self) -> bool:
        """Return whether the kernel ended a process of the group for its memory."""
        name = "memory.events" if self._version == 2 else "memory.oom_control"
        with contextlib.suppress(OSError):
            lines = (self._paths[0] / name).read_text().splitlines()
            return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in lines)
        return False

    async def remove(self) -> None:
        """Remove the group once the kernel has cleared its processes away; end those that still run."""
        # A process that has ended stays in its group for a moment, and the kernel does not say when it leaves.
        end, pause = time.monotonic() + _REMOVE_SECONDS, 0.001
        while not self.remove_now() and time.monotonic() < end:
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.05)

    def discard(self) -> None:
        """Remove the group now or, where it still has processes, when the next group is made."""
        self.discarded = True
        self.remove_now()

    def remove_now(self) -> bool:
        """End what runs in the group and remove it. Return whether it is gone."""
        self.discarded = True
        removed = True
        for path in self._paths:
            try:
                path.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                removed = False
                for pid in _members(path):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
        if removed:
            self._remainders.discard(self)
        return removed


def _places(mount: Path, lines: list[str]) -> Iterator[tuple[int, Path, Path]]:
    """Yield the version, the folder for memory and the folder for tasks of each place, the nearest first."""
    own = {name: path for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")}
    if "memory" in own and "pids" in own:
        yield 1, _nearest(mount / "memory", own["memory"]), _nearest(mount / "pids", own["pids"])
    elif "" in own:
        place = _nearest(mount, own[""])
        for folder in (place, *(parent for parent in place.parents if parent.is_relative_to(mount))):
            with contextlib.suppress(OSError):  # a group bounds only what its parent hands down
                if {"memory", "pids"} <= set((folder / "cgroup.subtree_control").read_text().split()):
                    yield 2, folder, folder


def _nearest(mount: Path, own: str) -> Path:
    place = mount / own.lstrip("/")
    return place if place.is_dir() else mount  # in a container its own group may be what is mounted


def _members(path: Path) -> list[int]:
    with contextlib.suppress(OSError):
        # A process of another namespace has the number 0 here, and killing 0 would kill the host.
        return [pid for pid in map(int, (path / "cgroup.procs").read_text().split()) if pid]
    return []


def _pid_namespace() -> str:
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")  # noqa: PTH115 - a link to no path
    return "0"


def _start_time(pid: int) -> str:
    """Return when a process started, in clock ticks since the machine did; empty where there is no such process."""
    with contextlib.suppress(OSError):
        # The command's name, in parentheses, may hold spaces and parentheses; the 22nd field is the 20th after it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _remove_all(remainders: "set[Leaf]", owner: int) -> None:
    end = time.monotonic() + _AT_EXIT_SECONDS
    while remainders and os.getpid() == owner and time.monotonic() < end:
        for leaf in list(remainders):
            leaf.remove_now()
        time.sleep(0.002)
