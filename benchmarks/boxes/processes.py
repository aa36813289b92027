"""The processes of sandboxes, and the memory that they take."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["descendants", "memory"]


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that they did, and so on."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


def memory(pids: Iterable[int]) -> tuple[int, int]:
    """Bytes of these processes together.

    Returns:
        The resident set size, which counts a page that is shared in each of them; and the proportional one, which
        counts it once.

    Raises:
        PermissionError: They belong to somebody else, and this user may not look.
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


def own_children() -> list[int]:
    """All that this process started."""
    return descendants(os.getpid())
