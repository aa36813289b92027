"""The sandbox of FastMCP's CodeMode: its provider for Monty."""

import os
import time

from fastmcp.experimental.transforms.code_mode import MontySandboxProvider  # type: ignore[import-not-found]

from benchmarks.boxes.box import BATCHES, CALLS, GATHERED, Box, Kind, Tool
from benchmarks.boxes.processes import descendants

__all__ = ["open_box"]

_PROGRAMS: dict[Kind, str] = {
    "one": "1",
    "loop": f"for number in range({CALLS}):\n    await echo(number)\n1",
    "gather": (
        f"import asyncio\nfor _ in range({BATCHES}):\n"
        f"    await asyncio.gather(*[echo(number) for number in range({GATHERED})])\n1"
    ),
    "hold": "await echo(1)",
}


class _Provider:
    def __init__(self) -> None:
        self._provider = MontySandboxProvider()

    async def run(self, kind: Kind, tool: Tool) -> float:
        value = await self._provider.run(_PROGRAMS[kind], external_functions={"echo": tool})
        if value != 1:
            raise RuntimeError(f"the program gave {value!r}")
        return time.perf_counter()

    def guests(self) -> list[int]:
        return descendants(os.getpid())

    async def aclose(self) -> None:
        pass


def open_box() -> Box:
    """Make a provider; it starts Monty anew for each program."""
    return _Provider()
