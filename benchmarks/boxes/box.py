"""The interface to a sandbox that is measured, and the programs that run in it."""

import itertools
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, Protocol, TypeAlias

__all__ = ["BATCHES", "CALLS", "GATHERED", "Box", "ComparedBox", "Kind", "Tool", "gaps", "programs"]

CALLS, GATHERED, BATCHES = 300, 64, 8
"""The calls of the program "loop"; the calls that "gather" makes together, and how often it does."""

Kind: TypeAlias = Literal["one", "loop", "gather", "hold"]
"""A program: the value 1; calls one after another; calls made together; one call."""

Tool: TypeAlias = Callable[[int], Awaitable[int]]
"""The only tool: returns its argument."""


def programs(call: str, imports: str = "") -> dict[Kind, str]:
    """Return the programs, each with the value 1.

    Args:
        call: The name of the tool in programs.
        imports: Lines that come first where a program has calls.
    """
    return {
        "one": "1",
        "loop": f"{imports}for number in range({CALLS}):\n    await {call}(number)\n1",
        "gather": (
            f"{imports}import asyncio\nfor _ in range({BATCHES}):\n"
            f"    await asyncio.gather(*[{call}(number) for number in range({GATHERED})])\n1"
        ),
        "hold": f"{imports}await {call}(1)",
    }


def gaps(times: Iterable[float]) -> list[float]:
    """Return the time from each moment to the next."""
    return [after - before for before, after in itertools.pairwise(times)]


class Box(Protocol):
    """One system's sandbox, open. Nothing is started before the first run."""

    async def run(self, kind: Kind, tool: Tool) -> float:
        """Run a program to its value and free its sandbox, which no other program ran in where the system has such.

        Returns:
            The moment at which the value was there, as `time.perf_counter` returns it.
        """
        ...

    def guests(self) -> list[int]:
        """Return the processes beside this one that exist for programs."""
        ...

    async def aclose(self) -> None:
        """Free everything."""
        ...


class ComparedBox(Box, Protocol):
    """A sandbox whose tool calls are compared with those of a bare transport."""

    async def bare(self, count: int) -> list[float]:
        """Return the seconds of each of this many calls over the bare transport."""
        ...
