"""The guest's limits on itself, set before it reads any code. Hard limits: nothing in the process can raise them."""

import math
from pathlib import Path
from typing import Any

__all__ = ["address_space", "confine"]

_UNKNOWN_BASE = 256 << 20


def address_space() -> int:
    """Bytes of address space that this process uses now; a guess where the kernel does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return _UNKNOWN_BASE
    import resource

    return pages * resource.getpagesize()


def confine(limits: dict[str, Any], base: int) -> None:
    """Limit memory and processor time, where the system can.

    Args:
        limits: The host's `Limits`, as a dictionary.
        base: Bytes of address space that the interpreter itself takes.
    """
    try:
        import resource
    except ImportError:  # Pyodide: WebAssembly's memory is capped from outside
        return
    memory = base + limits["memory_bytes"]
    seconds = math.ceil(limits["seconds"]) + 1
    for limit, value in ((resource.RLIMIT_AS, (memory, memory)), (resource.RLIMIT_CPU, (seconds, seconds + 1))):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(
            limit, tuple(value if hard == resource.RLIM_INFINITY else min(value, hard) for value in value)
        )
