"""Plain Pyodide on node: without a jail and a snapshot, a process for each program, one of them kept ready."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from codemode_sandboxes.pyodide.jail import find_node
from codemode_sandboxes.pyodide.packages import cache_folder, find_pyodide

from benchmarks.boxes.box import Box, Kind, Tool, gaps, programs
from benchmarks.boxes.processes import descendants

__all__ = ["calls", "open_box"]

_PROGRAMS = programs("call", "from host import call\n")


class _Plain:
    def __init__(self) -> None:
        script = Path(__file__).with_name("plain_pyodide.mjs")
        self._command = [find_node(), str(script), str(find_pyodide(None, cache_folder()))]
        self._spare: asyncio.Task[asyncio.subprocess.Process] | None = None

    async def run(self, kind: Kind, tool: Tool) -> float:
        spare, self._spare = self._spare or self._start(), None
        process = await spare
        try:
            value = await self._answer(process, _PROGRAMS[kind], tool)
            end = time.perf_counter()
        finally:
            await _end(process)
        if value != 1:
            raise RuntimeError(f"the program gave {value!r}")
        # The next starts after the run, whose processor it would take, as in our own sandboxes.
        if self._spare is None:
            self._spare = self._start()
        return end

    async def _answer(self, process: Any, program: str, tool: Tool) -> Any:
        _send(process, {"program": program})
        while line := await process.stdout.readline():
            message = json.loads(line)
            if "value" in message:
                return message["value"]
            _send(process, {"id": message["id"], "value": await tool(message["argument"])})
        raise RuntimeError("node ended")

    def _start(self) -> "asyncio.Task[asyncio.subprocess.Process]":
        async def start() -> asyncio.subprocess.Process:
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
            assert process.stdout is not None
            await process.stdout.readline()  # it says that it is ready
            return process

        return asyncio.create_task(start())

    def guests(self) -> list[int]:
        return descendants(os.getpid())

    async def aclose(self) -> None:
        if self._spare is not None:
            await _end(await self._spare)


def _send(process: Any, message: dict[str, Any]) -> None:
    process.stdin.write(json.dumps(message).encode() + b"\n")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def calls() -> list[float]:
    """Return the seconds of each tool call of the program "loop"."""
    times: list[float] = []

    async def tool(number: int) -> int:
        times.append(time.perf_counter())
        return number

    box = _Plain()
    try:
        await box.run("loop", tool)
    finally:
        await box.aclose()
    return gaps(times)


def open_box() -> Box:
    """Return the sandbox."""
    return _Plain()
