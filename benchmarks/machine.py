"""The machine, the commit and the load that figures were measured with."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "load", "machine", "revision"]

ROOT = Path(__file__).resolve().parent.parent
"""The repository."""


def machine() -> dict[str, Any]:
    """Return the processor, the system, and the Python that runs the benchmark."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": load(),
    }


def load() -> float | None:
    """Return the number of processes that used or wanted a processor in the last minute; None on some systems."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def revision() -> str | None:
    """Return the commit that is checked out, with a `+` where the packages differ from it."""
    try:
        commit = _git("rev-parse", "--short=10", "HEAD")
        changed = _git("status", "--porcelain", "--", "codemode_graph", "sandboxes")
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _cpu() -> str:
    file = Path("/proc/cpuinfo")
    for line in file.read_text().splitlines() if file.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
