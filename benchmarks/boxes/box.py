"""What is measured of a sandbox, ours or another's, and the programs for it."""

import itertools
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, Protocol, TypeAlias

__all__ = ["BATCHES", "CALLS", "GATHERED", "Box", "ComparedBox", "Kind", "Tool", "gaps"]

CALLS, GATHERED, BATCHES = 300, 64, 8
"""Calls that the program "loop" makes; calls that "gather" makes together, and how often."""

Kind: TypeAlias = Literal["one", "loop", "gather", "hold"]
"""A program: the value 1; calls one after another; calls made together; one call."""

Tool: TypeAlias = Callable[[int], Awaitable[int]]
"""The one tool: gives its argument back."""


def gaps(times: Iterable[float]) -> list[float]:
    """The time from each moment to the next."""
    return [after - before for before, after in itertools.pairwise(times)]


class Box(Protocol):
    """One system's sandbox, open. Nothing is started before the first run."""

    async def run(self, kind: Kind, tool: Tool) -> float:
        """Run a program of this kind to its value, each time in a sandbox that no program was in before, where the
        system has such, and free it.

        Returns:
            When the value was there, as `time.perf_counter` tells it.
        """
        ...

    def guests(self) -> list[int]:
        """Processes beside this one that there are for programs."""
        ...

    async def aclose(self) -> None:
        """Free everything."""
        ...


class ComparedBox(Box, Protocol):
    """A sandbox whose tool calls are compared with what they would take without it."""

    async def bare(self, count: int) -> list[float]:
        """Seconds of each of so many calls over the bare transport."""
        ...

    async def bytes(self, count: int) -> list[float]:
        """Seconds that a call's bytes alone take, back and forth, so many times; none where there is no pipe to be seen."""
        ...
