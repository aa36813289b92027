"""Whose a container is: the process that made it, and whether that lives."""

import contextlib
import os
import platform
from pathlib import Path

__all__ = ["LABEL", "lives", "owner"]

LABEL = "codemode.sandbox.owner"


def owner() -> str:
    """Name this process so that no other, now or later, here or elsewhere, has the name."""
    return f"{_place()}/{os.getpid()}/{_begun(os.getpid())}"


def lives(name: str) -> bool | None:
    """Whether an owner lives; None where that cannot be seen from here."""
    place, _, begun = name.rpartition("/")
    place, _, process = place.rpartition("/")
    if place != _place() or not process.isdigit():
        return None
    if begun:
        return _begun(int(process)) == begun
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True


def _place() -> str:
    """The machine, since it started, and the part of it whose processes can be seen from here."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116 - of the namespace, not of the link
    return platform.node().replace("/", "-")


def _begun(pid: int) -> str:
    """When a process began, in the kernel's ticks; nothing where there is no such process, or no way to tell."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""
