"""Runs one system's programs on order, and answers how long each took.

`python -m benchmarks.peers.worker MODULE` imports MODULE, whose `open_ways` opens the system. Orders are
`{"way": ..., "program": ..., "samples": n}`, and answers `{"seconds": [...], "processor": [...]}`: by the clock, and of the
processor, that of the processes below included. The first line names the ways, the packages, and the seconds of the start.
"""

import asyncio
import gc
import importlib
import itertools
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.peers.tools import EXPECTED
from benchmarks.systems import installed_packages, read_orders, take_stdout

__all__ = ["Run", "Ways"]

Run: TypeAlias = Callable[[str], Awaitable[Any]]
"""Runs a program and returns its value. Its argument is a comment for the end of the program, each time another, so that
no run is answered from a cache."""

Ways: TypeAlias = Mapping[str, Mapping[str, Run]]
"""The ways in which a system runs programs: by the name of the way, and of the program."""

SAMPLE_SECONDS = 0.002
"""Programs that take less are run several times a sample."""


async def serve(module: str, answer: Callable[[Mapping[str, Any]], None]) -> None:
    """Open the system, and follow orders until standard input ends."""
    start = time.perf_counter()
    open_ways: Callable[[], AbstractAsyncContextManager[Ways]] = importlib.import_module(module).open_ways
    imported = time.perf_counter()
    async with open_ways() as ways:
        opened = time.perf_counter()
        first = {way: (await _seconds(runs["1 call"], "1 call", 1))[0] for way, runs in ways.items()}
        seconds = {"import": imported - start, "open": opened - imported, "first run": first}
        answer({"ways": list(ways), "packages": installed_packages(), "seconds": seconds})
        loops: dict[tuple[str, str], int] = {}
        async for order in read_orders():
            way, program = order["way"], order["program"]
            run = ways[way][program]
            if (way, program) not in loops:
                await _seconds(run, program, 1)  # the first run of a program takes longer, and would make loops too few
                loops[way, program] = max(1, round(SAMPLE_SECONDS / (await _seconds(run, program, 1))[0]))
            gc.collect()
            await _seconds(run, program, loops[way, program])  # not counted: it fills the caches again
            samples = [await _seconds(run, program, loops[way, program]) for _ in range(order["samples"])]
            answer({"seconds": [each[0] for each in samples], "processor": [each[1] for each in samples]})


_serial = itertools.count(1)


async def _seconds(run: Run, program: str, loops: int) -> tuple[float, float]:
    """Return the seconds of one run by the clock, and those of the processor: the mean of `loops`."""
    comments = [f"# {next(_serial)}\n" for _ in range(loops)]
    below = seconds_below()  # outside of what is timed: to look at the processes takes as long as a run
    start, used = time.perf_counter(), time.process_time()
    for comment in comments:
        value = await run(comment)
    seconds, used = (time.perf_counter() - start) / loops, time.process_time() - used
    used = (used + seconds_below() - below) / loops
    if value != EXPECTED[program]:
        raise AssertionError(f"{program}: expected {EXPECTED[program]}, got {value}")
    return seconds, used


def seconds_below() -> float:
    """Return the seconds of the processor that the processes below this one have used, those that have ended included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime + sum(map(_used_by, _children("self")))


def _children(process: str) -> list[str]:
    found: list[str] = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            found += path.read_text().split()
        except OSError:  # it has ended
            continue
    return found


def _used_by(process: str) -> float:
    used = 0.0
    # In nanoseconds; what `/proc/.../stat` has is in hundredths of a second.
    for path in Path(f"/proc/{process}/task").glob("*/schedstat"):
        try:
            used += int(path.read_text().split()[0]) / 1e9
        except (OSError, ValueError, IndexError):
            continue
    return used + sum(map(_used_by, _children(process)))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], take_stdout()))
