"""The processes of sandboxes, and their memory. Linux only."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["children", "descendants", "memory", "parent"]


def children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    return [child for child, parent in _parents().items() if parent == pid]


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, those that they started, and so on."""
    parents = _parents()
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def memory(pids: Iterable[int]) -> tuple[int, int]:
    """Return the memory of these processes together, in bytes.

    Returns:
        The resident set size, which counts a shared page in each process, and the proportional one, which counts it
        once.

    Raises:
        PermissionError: They belong to another user.
    """
    rss = pss = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        sizes = {name: size for name, _, size in (line.partition(":") for line in lines)}
        rss += int(sizes["Rss"].split()[0]) * 1024
        pss += int(sizes["Pss"].split()[0]) * 1024
    return rss, pss


def parent(pid: int) -> int:
    """Return the process that a process is a child of."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _parents() -> dict[int, int]:
    # Not /proc/PID/task/*/children: it lacks children of a thread that ends while it is read.
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found[int(entry.name)] = parent(int(entry.name))
    return found
