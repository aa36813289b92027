"""The sandboxes of codemode_sandboxes."""

import os
import time
from typing import Any

from codemode_sandboxes import Blocked, Finished, Limits, Program, Returned, create_sandbox
from codemode_sandboxes.docker.host import OWNER_LABEL, current_owner

from benchmarks.boxes import plain_pyodide
from benchmarks.boxes.bare import over_attachment, over_monty, over_pipe
from benchmarks.boxes.box import ComparedBox, Kind, Tool, programs
from benchmarks.boxes.processes import descendants, parent

__all__ = ["open_box"]

_PROGRAMS = {kind: Program(code=code, tools=("echo",)) for kind, code in programs("tools.echo").items()}
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
            end = time.perf_counter()
        finally:
            await execution.aclose()
        if not isinstance(event, Finished) or event.value != 1:
            raise RuntimeError(f"{self._name}: {event}")
        return end

    def guests(self) -> list[int]:
        return _container_processes() if self._name == "docker" else descendants(os.getpid())

    async def bare(self, count: int) -> list[float]:
        match self._name:
            case "monty":
                return await over_monty(count)
            case "docker":
                return await over_attachment(count)
            case "pyodide":
                return await plain_pyodide.calls()
        return await over_pipe(count)

    async def aclose(self) -> None:
        await self._sandbox.aclose()


def _container_processes() -> list[int]:
    """Return the processes of this process's guests in Docker, and containerd's process beside each."""
    import docker  # type: ignore[import-untyped]

    found: list[int] = []
    client = docker.from_env()
    try:
        for container in client.containers.list(filters={"label": f"{OWNER_LABEL}={current_owner()}"}):
            if first := client.api.inspect_container(container.id)["State"]["Pid"]:
                found += [parent(first), first, *descendants(first)]
    finally:
        client.close()
    return found


def open_box(name: str) -> ComparedBox:
    """Return the sandbox with this name in codemode_sandboxes."""
    return _Ours(name)
