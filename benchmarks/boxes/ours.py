"""The sandboxes of codemode_sandboxes."""

import os
import time
from typing import Any

from codemode_sandboxes import Blocked, Finished, Limits, Program, Returned, create_sandbox

from benchmarks.boxes import plain_pyodide
from benchmarks.boxes.bare import bytes_alone, over_attachment, over_monty, over_pipe
from benchmarks.boxes.box import BATCHES, CALLS, GATHERED, ComparedBox, Kind, Tool
from benchmarks.boxes.processes import descendants

__all__ = ["open_box"]

_CODE: dict[Kind, str] = {
    "one": "1",
    "loop": f"for number in range({CALLS}):\n    await tools.echo(number)\n1",
    "gather": (
        f"import asyncio\nfor _ in range({BATCHES}):\n"
        f"    await asyncio.gather(*[tools.echo(number) for number in range({GATHERED})])\n1"
    ),
    "hold": "await tools.echo(1)",
}
_PROGRAMS = {kind: Program(code=code, tools=("echo",)) for kind, code in _CODE.items()}
_LIMITS = Limits()


class _Ours:
    def __init__(self, name: str) -> None:
        self._name = name
        self._sandbox: Any = create_sandbox(name)

    async def run(self, kind: Kind, tool: Tool) -> float:
        execution = await self._sandbox.start(_PROGRAMS[kind], _LIMITS)
        try:
            event = await execution.advance()
            while isinstance(event, Blocked):
                event = await execution.advance({call.id: Returned(await tool(*call.args)) for call in event.calls})
            ended = time.perf_counter()
        finally:
            await execution.aclose()
        if not isinstance(event, Finished) or event.value != 1:
            raise RuntimeError(f"{self._name}: {event}")
        return ended

    def guests(self) -> list[int]:
        if self._name == "docker":
            from benchmarks.boxes.containers import container_processes

            return container_processes()
        return descendants(os.getpid())

    async def bare(self, count: int) -> list[float]:
        match self._name:
            case "monty":
                return await over_monty(count)
            case "docker":
                return await over_attachment(count)
            case "pyodide":
                return await plain_pyodide.calls()
        return await over_pipe(count)

    async def bytes(self, count: int) -> list[float]:
        return [] if self._name == "monty" else await bytes_alone(self._sandbox, count)

    async def aclose(self) -> None:
        await self._sandbox.aclose()


def open_box(name: str) -> ComparedBox:
    """Make a sandbox.

    Args:
        name: Its name in codemode_sandboxes.
    """
    return _Ours(name)
