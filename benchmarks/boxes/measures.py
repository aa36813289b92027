"""Measures one sandbox on order, in a process of its own.

`python -m benchmarks.boxes.measures MODULE [ARGUMENT]` imports MODULE, whose `open_box` returns the sandbox. Orders are
`{"measure": ..., ...}`, with a method of `Measures` and its arguments, and answers `{"found": [...]}`.
"""

import asyncio
import gc
import importlib
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from benchmarks.boxes.box import BATCHES, CALLS, GATHERED, Box, ComparedBox, gaps
from benchmarks.boxes.processes import memory
from benchmarks.systems import installed_packages, read_orders, take_stdout

__all__ = ["Measures"]

_HELD = 4
"""The guests that are added to measure the memory of one."""


class Measures:
    """The measurements of one sandbox. Durations are in seconds.

    Args:
        make: Returns a new sandbox.
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
        """Run a program, so that images and snapshots exist, and free everything."""
        await self.cold()
        return await self.close()

    async def cold(self) -> list[float]:
        """Return the time from a new sandbox to its first value."""
        start = time.perf_counter()
        self._box = self._make()
        seconds = await self._box.run("one", echo) - start
        self._pause = max(0.1, 2 * seconds if seconds < 2 else 1.5 * seconds)  # in which the next guest becomes ready
        return [seconds]

    async def ready(self, samples: int) -> list[float]:
        """Return the times to a program's value where a guest has had the time to become ready."""
        return [await self._timed_run() for _ in range(samples)]

    async def _timed_run(self) -> float:
        await asyncio.sleep(self._pause)
        gc.collect()  # or garbage of earlier runs might be collected within the time
        start = time.perf_counter()
        return await self._open.run("one", echo) - start

    async def loop(self, programs: int) -> list[float]:
        """Return the times of calls one after another: from one that reaches the host to the next."""
        return [gap for _ in range(programs) for gap in gaps(await self._call_times("loop", CALLS))]

    async def gather(self) -> list[float]:
        """Return the times of calls made together: from batch to batch, divided by the calls of a batch."""
        # Calls of a batch reach the host together, so only the first of each counts.
        times = (await self._call_times("gather", BATCHES * GATHERED))[::GATHERED]
        return [gap / GATHERED for gap in gaps(times)]

    async def _call_times(self, kind: Any, calls: int) -> list[float]:
        times: list[float] = []

        async def tool(number: int) -> int:
            times.append(time.perf_counter())
            return number

        await self._open.run(kind, tool)
        if len(times) != calls:
            raise RuntimeError(f"the program made {len(times)} calls, not {calls}")
        return times

    async def bare(self, programs: int) -> list[float]:
        """Return the times of such calls over the bare transport."""
        box = cast(ComparedBox, self._open)
        return [each for _ in range(programs) for each in await box.bare(CALLS)]

    async def rate(self, at_once: int, seconds: float) -> list[float]:
        """Return the runs per second.

        Args:
            at_once: The number of runs at one time.
            seconds: How long runs are started; each goes on to its end.
        """
        start = time.perf_counter()
        runs = 0

        # Each lane makes a run at least, however slow: a rate of none would say nothing.
        async def lane() -> None:
            nonlocal runs
            while True:
                await self._open.run("one", echo)
                runs += 1
                if time.perf_counter() - start > seconds:
                    return

        await asyncio.gather(*(lane() for _ in range(at_once)))
        return [runs / (time.perf_counter() - start)]

    async def memory(self) -> list[float]:
        """Return the bytes that a guest takes while it waits for a tool: resident and proportional set size."""
        await asyncio.sleep(self._pause)
        # From one guest on: the first brings what all guests share.
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
            await asyncio.sleep(self._pause)  # until as many guests as ever are kept ready
            found = memory(self._open.guests())
            release.set()
        return found

    async def close(self) -> list[float]:
        """Free everything."""
        await self._open.aclose()
        return []


async def echo(number: int) -> int:
    """Return the argument."""
    return number


async def serve(module: str, arguments: list[str], answer: Callable[[Mapping[str, Any]], None]) -> None:
    """Follow orders until standard input ends."""
    make = importlib.import_module(module).open_box
    measures = Measures(lambda: make(*arguments))
    answer({"packages": installed_packages()})
    async for order in read_orders():
        measure: Callable[..., Awaitable[list[float]]] = getattr(measures, order.pop("measure"))
        try:
            answer({"found": await measure(**order)})
        except Exception as error:
            if type(error).__name__ != "SandboxUnavailable":  # which not every system's environment can import
                raise
            answer({"unavailable": str(error)})


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2:], take_stdout()))
