"""The guest's limits on itself, set before it reads any code. Hard limits: nothing in the process can raise them."""

import math
from pathlib import Path
from typing import Any

__all__ = ["address_space", "confine", "harden"]

_TRIED = 33 << 20  # above this the C library always asks the kernel


def address_space() -> int:
    """Bytes of address space that this process uses now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return _tried_address_space()
    import resource

    return pages * resource.getpagesize()


def _tried_address_space() -> int:
    """Find it where there is no /proc: the limit under which an allocation just fits."""
    try:
        import resource
    except ImportError:  # Pyodide, which sets no limit
        return 0
    low, high = 0, 1 << 40
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    while high - low > 1 << 16:
        middle = (low + high) // 2
        resource.setrlimit(resource.RLIMIT_AS, (middle, hard))
        try:
            bytes(_TRIED)  # never touched, so it costs nothing
        except MemoryError:
            low = middle
        else:
            high = middle
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    return high - _TRIED


def harden(limits: list[str]) -> None:
    """Set hard limits of the process, each given as in "nproc=0"."""
    if limits:
        import resource

        for limit in limits:
            name, _, value = limit.partition("=")
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (int(value), int(value)))


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
