"""Tools whose effects are lines in the file that LETTERS names."""

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


TOOLS = [people, send]
