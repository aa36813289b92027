"""Which version this is."""

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions"]


def versions() -> str:
    """Our distributions' versions and Python's, on one line."""
    ours = ", ".join(f"{name} {_version(name)}" for name in ("codemode-graph", "codemode-sandboxes"))
    return f"{ours}, Python {platform.python_version()}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed: run from its source)"
