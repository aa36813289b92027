"""Tools whose effects are lines of a file; run as a program, an MCP server with them: `python -m tests.durable.ledger FOLDER`.

A line of FOLDER/deaths, such as `after pay a 1`, kills the process of the graph there, once.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp.server.fastmcp import FastMCP
from mcp.types import ToolAnnotations

if TYPE_CHECKING:  # the server starts in half the time without the product
    from codemode_graph.tools.spec import Effect


class Ledger:
    """`folder/ledger` has a line for every effect and every read, on the disk before the tool goes on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def lines(self) -> list[str]:
        path = self.folder / "ledger"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def effects(self) -> list[str]:
        return [line for line in self.lines if not line.startswith("read ")]

    def count(self, beginning: str) -> int:
        return sum(line.startswith(beginning) for line in self.lines)

    def write(self, line: str) -> None:
        self._die(f"before {line}")
        with (self.folder / "ledger").open("a") as file:
            file.write(f"{line}\n")
            file.flush()
            os.fsync(file.fileno())
        self._die(f"after {line}")

    def _die(self, where: str) -> None:
        deaths = self.folder / "deaths"
        lines = deaths.read_text().splitlines() if deaths.exists() else []
        if where in lines:
            lines.remove(where)
            deaths.write_text("\n".join(lines))
            os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL)
            os._exit(1)  # the MCP server, whose client was killed


def functions(ledger: Ledger) -> "dict[str, tuple[Effect, Callable[..., Any]]]":
    """The tools by name, each with its effect."""

    async def look(at: str) -> int:
        """Look at something."""
        ledger.write(f"read look {at}")
        return ledger.count("read look")

    async def count() -> int:
        """Return how many invoices there are."""
        ledger.write("read count")
        return ledger.count("invoice")

    async def create_invoice(number: int) -> int:
        """Create an invoice."""
        ledger.write(f"invoice {number}")
        return number

    async def pay(account: str, amount: int = 1) -> str:
        """Pay from an account."""
        await asyncio.sleep(0.05)
        ledger.write(f"pay {account} {amount}")
        await asyncio.sleep(0.05)
        return f"paid {amount} to {account}"

    async def note(text: str) -> str:
        """Note a text."""
        ledger.write(f"note {text}")
        return text

    async def reserve(seat: str) -> dict[str, str]:
        """Reserve a seat."""
        ledger.write(f"reserve {seat}")
        return {"id": f"of {seat}"}

    async def cancel(reservation_id: str) -> str:
        """Cancel a reservation."""
        ledger.write(f"cancel {reservation_id}")
        return "cancelled"

    return {
        "look": ("read", look),
        "count": ("read", count),
        "create_invoice": ("write", create_invoice),
        "pay": ("write", pay),
        "note": ("write", note),
        "reserve": ("write", reserve),
        "cancel": ("write", cancel),
    }


def serve(folder: Path) -> None:
    """Offer the tools as an MCP server, on standard input and output."""
    server = FastMCP("ledger", log_level="ERROR")
    for name, (effect, function) in functions(Ledger(folder)).items():
        hints = ToolAnnotations(readOnlyHint=effect == "read", destructiveHint=False, idempotentHint=False)
        server.add_tool(function, name=name, annotations=hints)
    server.run()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
