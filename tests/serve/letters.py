"""Tools whose effects are lines in the file that LETTERS names."""

import asyncio
import os
from pathlib import Path
from typing import Any

from codemode_graph.tools import tool


@tool(effect="read")
async def people() -> list[dict[str, str]]:
    """List the people."""
    return [{"name": "ann"}, {"name": "bob"}]


def send(to: str) -> dict[str, Any]:
    """Send a letter."""
    print("what a tool prints is no part of the protocol")
    with Path(os.environ["LETTERS"]).open("a") as file:
        file.write(f"{to}\n")
    return {"sent": to}


@tool(effect="write")
async def stroll(number: int) -> str:
    """Write that a walk begins, and take a while."""
    with Path(os.environ["LETTERS"]).open("a") as file:  # noqa: ASYNC230 - a line
        file.write(f"walk {number}\n")
    await asyncio.sleep(0.4)
    return "home"


@tool(effect="read")
async def arrived(place: str) -> bool:
    """Wait until something is there."""
    while not Path(place).exists():  # noqa: ASYNC110, ASYNC240 - a file tells nobody
        await asyncio.sleep(0.02)
    return True


@tool(effect="write")
def confide(to: str, password: str) -> str:
    """Fail with a secret."""
    raise ValueError(f"no room for token={password}")


TOOLS = [people, send, stroll, arrived, confide]
