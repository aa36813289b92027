"""Which version this is."""

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["version_of", "versions"]


def versions() -> str:
    """Our distributions' versions and Python's, on one line."""
    ours = ", ".join(f"{name} {version_of(name)}" for name in ("codemode-graph", "codemode-sandboxes"))
    return f"{ours}, Python {platform.python_version()}"


def version_of(name: str) -> str:
    """The version of an installed distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed: run from its source)"
