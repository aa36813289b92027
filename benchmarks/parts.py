"""Measures where our own time goes, with timers around the parts of a run.

`python -m benchmarks.overhead --profile` runs it in our environment. A part's time is without the parts inside it.
"""

import asyncio
import functools
import time
import types
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import Any
from unittest.mock import patch

from codemode_sandboxes.monty import MontySandbox
from codemode_sandboxes.monty.session import MontyExecution

from benchmarks.figures import duration, table
from benchmarks.peers.graph import PROGRAMS
from benchmarks.peers.tools import EXPECTED, TOOLS
from codemode_graph.api import codemode
from codemode_graph.nodes import check, execute
from codemode_graph.tools.load import load_tools

__all__ = ["main"]

RUNS = 40

PARTS = {
    "graph, state, result": ("whole", ("check", "run")),
    "check": ("check", ("type check",)),
    "type check": ("type check", ()),
    "sandbox: start": ("start", ()),
    "sandbox: run": ("advance", ()),
    "bridge, journal": ("run", ("start", "advance", "call")),
    "tools: validate, trace, call": ("call", ()),
}
"""By the name of each part, its timer and the timers inside it, which are subtracted."""

TIMED: tuple[tuple[str, Any, str], ...] = (
    ("check", check, "check_program"),
    ("run", execute, "run_program"),
    ("type check", MontySandbox, "type_check"),
    ("start", MontySandbox, "start"),
    ("advance", MontyExecution, "advance"),
)


class Timers:
    """Timers by name, which add up seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def around(self, name: str, function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        """Return an async function that does the same, timed from its call to its end."""

        @functools.wraps(function)
        async def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return await function(*args, **kwargs)
            finally:
                self._add(name, start)

        return timed

    def within(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return an async function that does the same, timed while it has the event loop.

        Many calls of it may be open at one time, whose waiting must not be counted many times.
        """

        @types.coroutine
        def steps(coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
            sent = None
            while True:
                start = time.perf_counter()
                try:
                    awaited = coroutine.send(sent)
                except StopIteration as end:
                    return end.value
                finally:
                    self._add(name, start)
                sent = yield awaited

        @functools.wraps(function)
        async def timed(*args: Any, **kwargs: Any) -> Any:
            return await steps(function(*args, **kwargs))

        return timed

    def _add(self, name: str, start: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def take(self) -> Mapping[str, float]:
        """Return the seconds of each part, and reset the timers."""
        spent, self.seconds = self.seconds, {}
        return {
            part: spent.get(name, 0.0) - sum(spent.get(inner, 0.0) for inner in within)
            for part, (name, within) in PARTS.items()
        }


async def measure() -> str:
    """Run every program, and return a table of the medians of the parts."""
    timers = Timers()
    found: dict[str, list[Mapping[str, float]]] = {}
    with ExitStack() as stack:
        for name, owner, attribute in TIMED:
            stack.enter_context(patch.object(owner, attribute, timers.around(name, getattr(owner, attribute))))
        specs = [replace(spec, call=timers.within("call", spec.call)) for spec in load_tools(TOOLS)]
        async with codemode(tools=specs) as cm:
            run = timers.around("whole", cm.run_code)
            for program, text in zip(EXPECTED, PROGRAMS, strict=True):
                for number in range(RUNS + 5):
                    result = await run(f"{text}# {number}\n")
                    assert result["output"] == EXPECTED[program], result["error"]
                    seconds = timers.take()
                    if number >= 5:  # the first warm up
                        found.setdefault(program, []).append(seconds)
    medians = {program: {part: median(run[part] for run in runs) for part in PARTS} for program, runs in found.items()}

    def cell(part: str, program: str) -> str:
        whole = sum(medians[program].values())
        seconds = whole if part == "**sum**" else medians[program][part]
        return f"{duration(seconds)} ({seconds / whole:.0%})"

    return table("part", [*PARTS, "**sum**"], {program: program for program in EXPECTED}, cell)


def main() -> None:
    """Print the table."""
    print(asyncio.run(measure()))


if __name__ == "__main__":
    main()
