"""Runs one system's programs when told to, and says how long each took.

`python -m benchmarks.peers.worker MODULE` imports MODULE and reads orders from stdin, one JSON object a line:
`{"way": ..., "program": ..., "samples": n}`; each is answered by a line on stdout: `{"seconds": [...]}`.
The first line on stdout says what there is and how long it took to start.
"""

import asyncio
import gc
import importlib
import importlib.metadata
import itertools
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TextIO, TypeAlias

from benchmarks.peers.shop import EXPECTED

__all__ = ["Run", "Runs", "Ways"]

Run: TypeAlias = Callable[[str], Awaitable[Any]]
"""Runs a program and returns its value. The text it is given is put below the program: a comment, each time another, so
that no run is answered from what an earlier one left."""

Runs: TypeAlias = Mapping[str, Run]
"""What runs each program, by the program's name."""

Ways: TypeAlias = Mapping[str, Runs]
"""The ways in which a system runs programs, by name."""

SAMPLE_SECONDS = 0.002
"""Programs that take less are run several times a sample."""


async def serve(module: str, answers: TextIO) -> None:
    """Open the system and obey orders until stdin ends."""
    started = time.perf_counter()
    open_ways: Callable[[], AbstractAsyncContextManager[Ways]] = importlib.import_module(module).open_ways
    imported = time.perf_counter()
    async with open_ways() as ways:
        opened = time.perf_counter()
        first = {}
        for way, runs in ways.items():
            begun = time.perf_counter()
            await runs["1 call"]("# the first\n")
            first[way] = time.perf_counter() - begun
        ready = {
            "ways": list(ways),
            "packages": {each.name: each.version for each in importlib.metadata.distributions()},
            "seconds": {"import": imported - started, "open": opened - imported, "first run": first},
        }
        print(json.dumps(ready), file=answers, flush=True)
        loops: dict[tuple[str, str], int] = {}
        # Read in a thread: what a system does in the background between runs goes on meanwhile.
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            program = order["program"]
            run = ways[order["way"]][program]
            key = (order["way"], program)
            if key not in loops:
                await _sample(run, program, 1)
                loops[key] = max(1, round(SAMPLE_SECONDS / await _sample(run, program, 1)))
            gc.collect()
            await _sample(run, program, loops[key])
            seconds = [await _sample(run, program, loops[key]) for _ in range(order["samples"])]
            print(json.dumps({"seconds": seconds}), file=answers, flush=True)


_serial = itertools.count(1)


async def _sample(run: Run, program: str, loops: int) -> float:
    """Seconds that one run takes, the mean of `loops`."""
    comments = [f"# {next(_serial)}\n" for _ in range(loops)]
    started = time.perf_counter()
    for comment in comments:
        value = await run(comment)
    seconds = (time.perf_counter() - started) / loops
    if value != EXPECTED[program]:
        raise AssertionError(f"{program}: expected {EXPECTED[program]}, got {value}")
    return seconds


if __name__ == "__main__":
    # What a system prints must not mix with the answers.
    protocol = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asyncio.run(serve(sys.argv[1], protocol))
