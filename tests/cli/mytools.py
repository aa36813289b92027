"""Tools for `--tools` in the tests."""

import asyncio
import time
from collections.abc import Callable

from codemode_graph.tools import tool
from codemode_graph.tools.artifacts import Artifact


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


@tool(effect="read")
def draw(name: str) -> Artifact:
    """Draw a picture, and give it a name."""
    return Artifact(name.encode(), "image/png", name)


TOOLS = [add, fail]
DRAW = [draw]
NAMED = {"plus": add}
EMPTY: list[object] = []
NUMBER = 7

BOOK: list[str] = []


@tool(effect="destructive")
def pay(to: str, amount: int, note: str = "") -> str:
    """Pay somebody."""
    BOOK.append(f"{to} {amount}")
    return f"paid {to} {amount}"


def note(text: str) -> str:
    """Write something down."""
    return text


def _other() -> Callable[[str], str]:
    def note(text: str) -> str:
        """Write something down elsewhere."""
        return text

    return note


async def fail_later(text: str) -> str:
    """Change something, and never say so."""
    print("fail_later has begun", flush=True)
    await asyncio.sleep(100)
    return text


BANK = [pay]
LATER = [fail_later, sleep]
TWICE = [note, _other()]
