"""The sandbox of FastMCP's CodeMode: its provider of Monty, which starts a Monty for each program."""

import os
import time

from fastmcp.experimental.transforms.code_mode import MontySandboxProvider  # type: ignore[import-not-found]

from benchmarks.boxes.box import Box, Kind, Tool, programs
from benchmarks.boxes.processes import descendants

__all__ = ["open_box"]

_PROGRAMS = programs("echo")


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
    """Return the provider."""
    return _Provider()
