"""The world of the tests: tools, a setup that brings it back, and checks."""

import asyncio
import sys
import time
from typing import Any

from codemode_graph.tools import tool

OWED: dict[str, float] = {}
SENT: list[tuple[str, float]] = []


@tool(effect="read")
def list_owed() -> dict[str, float]:
    """List what each customer owes."""
    return dict(OWED)


@tool(effect="write")
def remind(customer: str, amount: float, note: str = "") -> str:
    """Remind a customer."""
    SENT.append((customer, amount))
    return "sent"


@tool(effect="destructive")
def forget(customer: str) -> str:
    """Delete a customer."""
    del OWED[customer]
    return "gone"


TOOLS = [list_owed, remind, forget]


def reset(extra: float = 0.0) -> None:
    OWED.clear()
    OWED.update(Ann=125.0 + extra, Bob=12.0)
    SENT.clear()


async def reset_later() -> None:
    reset()


def broken() -> None:
    raise OSError("there is no database")


def is_total(value: Any) -> bool:
    return bool(value == sum(OWED.values()))


def calls_once(value: Any, result: Any) -> str:
    return "" if len(result["tool_calls"]) == 1 else f"{len(result['tool_calls'])} calls"


def asserts(value: Any) -> bool:
    assert value == 137, f"{value} is not the total"
    return True


def forgets(value: Any) -> None:
    assert value


def leaves(value: Any = None) -> None:
    sys.exit(0)


def hangs(value: Any = None) -> bool:
    time.sleep(600)
    return True


async def hangs_later(value: Any = None) -> bool:
    await asyncio.sleep(600)
    return True


NO_FUNCTION = 3
