"""What `--tools` is given in the tests."""

import asyncio
import time

from codemode_graph.tools import tool


@tool(effect="read")
def add(a: int, b: int) -> int:
    """Add two numbers."""
    print("a tool may print")
    return a + b


def fail(reason: str) -> str:
    """Fail."""
    raise ValueError(reason)


async def sleep(seconds: float) -> str:
    """Sleep."""
    await asyncio.sleep(seconds)
    return "slept"


def block(seconds: float) -> str:
    """Sleep in a thread, which cannot be stopped."""
    print("block has begun", flush=True)
    time.sleep(seconds)
    return "slept"


TOOLS = [add, fail]
NAMED = {"plus": add}
EMPTY: list[object] = []
NUMBER = 7
