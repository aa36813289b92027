"""What is measured of a sandbox, ours or another's, and the programs for it."""

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, TypeAlias

__all__ = ["BATCHES", "CALLS", "GATHERED", "Box", "Kind", "Tool"]

CALLS, GATHERED, BATCHES = 300, 64, 8
"""Calls that the program "loop" makes; calls that "gather" makes together, and how often."""

Kind: TypeAlias = Literal["one", "loop", "gather", "hold"]
"""A program: the value 1; calls one after another; calls made together; one call."""

Tool: TypeAlias = Callable[[int], Awaitable[int]]
"""The one tool: gives its argument back."""


class Box(Protocol):
    """One system's sandbox, open. Nothing is started before the first run."""

    async def run(self, kind: Kind, tool: Tool) -> None:
        """Run a program of this kind to its value, each time in a sandbox that no program was in before, where the
        system has such, and free it."""
        ...

    def guests(self) -> list[int]:
        """Processes beside this one that there are for programs."""
        ...

    async def bare(self, count: int) -> list[float] | None:
        """Seconds that each of so many exchanges over the bare transport takes: what a tool call cannot be quicker than.

        None where the system shows no transport.
        """
        ...

    async def aclose(self) -> None:
        """Free everything."""
        ...
