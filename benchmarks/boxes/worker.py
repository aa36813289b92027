"""One sandbox's process: measures what it is told to.

`python -m benchmarks.boxes.worker MODULE [ARGUMENT]` imports MODULE, whose `open_box` makes the sandbox, and reads orders
from stdin, one JSON object a line: `{"measure": ..., ...}`; each is answered by a line on stdout.
"""

import asyncio
import gc
import importlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, TextIO, cast

from benchmarks.boxes.box import BATCHES, CALLS, GATHERED, Box, ComparedBox, gaps
from benchmarks.boxes.processes import memory

__all__ = ["Measures"]

_HELD = 4
"""Guests that are added to learn what one takes."""


class Measures:
    """What can be asked for. Durations are in seconds.

    Args:
        make: Makes the sandbox.
    """

    def __init__(self, make: Callable[[], Box]) -> None:
        self._make = make
        self._box: Box | None = None
        self._pause = 0.0

    @property
    def _open(self) -> Box:
        if self._box is None:
            raise RuntimeError("`cold` comes first")
        return self._box

    async def prepare(self) -> list[float]:
        """Run a program, so that what is kept on disk is there, and free everything."""
        await self.cold()
        return await self.close()

    async def cold(self) -> list[float]:
        """How long a new sandbox takes to its first value."""
        started = time.perf_counter()
        self._box = self._make()
        taken = await self._box.run("one", echo) - started
        self._pause = max(0.1, 2 * taken if taken < 2 else 1.5 * taken)  # in which the next guest becomes ready
        return [taken]

    async def ready(self, samples: int) -> list[float]:
        """How long it takes to a program's value where a guest has had the time to become ready."""
        return [await self._timed_run() for _ in range(samples)]

    async def _timed_run(self) -> float:
        await asyncio.sleep(self._pause)
        gc.collect()
        started = time.perf_counter()
        return await self._open.run("one", echo) - started

    async def loop(self, programs: int) -> list[float]:
        """How long each of many calls takes, one after another: from one reaching the host to the next doing so."""
        found = []
        for _ in range(programs):
            times = await self._called("loop", CALLS)
            found += gaps(times)
        return found

    async def gather(self) -> list[float]:
        """How long a call takes that is made with many others: from batch to batch, for each call."""
        times = (await self._called("gather", BATCHES * GATHERED))[::GATHERED]
        return [gap / GATHERED for gap in gaps(times)]

    async def _called(self, kind: Any, calls: int) -> list[float]:
        times: list[float] = []

        async def tool(number: int) -> int:
            times.append(time.perf_counter())
            return number

        await self._open.run(kind, tool)
        if len(times) != calls:
            raise RuntimeError(f"{len(times)} calls were made, not {calls}")
        return times

    async def bare(self, programs: int) -> list[float]:
        """The same over the bare transport."""
        return [each for _ in range(programs) for each in await self._compared.bare(CALLS)]

    async def bytes(self, programs: int) -> list[float]:
        """The same of a call's bytes alone."""
        return [each for _ in range(programs) for each in await self._compared.bytes(CALLS)]

    @property
    def _compared(self) -> ComparedBox:
        return cast(ComparedBox, self._open)

    async def rate(self, at_once: int, seconds: float) -> list[float]:
        """Runs per second, with so many at one time, for about so long: runs that have begun are ended."""
        started = time.perf_counter()
        ran = 0

        async def lane() -> None:
            nonlocal ran
            while True:
                await self._open.run("one", echo)
                ran += 1
                if time.perf_counter() - started > seconds:
                    return

        await asyncio.gather(*(lane() for _ in range(at_once)))
        return [ran / (time.perf_counter() - started)]

    async def memory(self) -> list[float]:
        """Bytes that one more guest takes which waits for a tool: resident set size, and proportional set size."""
        await asyncio.sleep(self._pause)
        before = await self._held(1)
        after = await self._held(1 + _HELD)
        return [(more - less) / _HELD for more, less in zip(after, before, strict=True)]

    async def _held(self, count: int) -> tuple[int, int]:
        reached, release = asyncio.Semaphore(0), asyncio.Event()

        async def tool(number: int) -> int:
            reached.release()
            await release.wait()
            return number

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self._open.run("hold", tool))
            for _ in range(count):
                await reached.acquire()
            await asyncio.sleep(self._pause)  # until the guests that are kept ready are as many as ever
            found = memory(self._open.guests())
            release.set()
        return found

    async def close(self) -> list[float]:
        """Free everything."""
        await self._open.aclose()
        return []


async def echo(number: int) -> int:
    """Give it back."""
    return number


async def serve(module: str, arguments: list[str], answers: TextIO) -> None:
    """Obey orders until stdin ends."""
    make = importlib.import_module(module).open_box
    measures = Measures(lambda: make(*arguments))
    ready = {"packages": {each.name: each.version for each in importlib.metadata.distributions()}}
    print(json.dumps(ready), file=answers, flush=True)
    # Read in a thread: what a sandbox does in the background between runs goes on meanwhile.
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        measure: Callable[..., Awaitable[list[float]]] = getattr(measures, order.pop("measure"))
        try:
            answer: dict[str, Any] = {"found": await measure(**order)}
        except Exception as error:
            if type(error).__name__ != "SandboxUnavailable":  # which not every system's environment can import
                raise
            answer = {"unavailable": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    # What a system prints must not mix with the answers.
    protocol = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asyncio.run(serve(sys.argv[1], sys.argv[2:], protocol))
