"""A small office: typed and untyped tools, reads and writes, and a ledger of what was really done."""

import asyncio
from typing import Any, Literal

from typing_extensions import TypedDict

from codemode_graph.tools import tool


class Event(TypedDict):
    id: str
    title: str
    start: str
    attendees: list[str]


class Sent(TypedDict):
    id: str
    to: str


EVENTS = [
    Event(id="e1", title="Standup", start="2026-03-02T09:00", attendees=["ann@x.org", "bob@x.org"]),
    Event(id="e2", title="Review", start="2026-03-02T10:00", attendees=["ann@x.org"]),
    Event(id="e3", title="Lunch", start="2026-03-02T12:00", attendees=[]),
]
PRICES = {"apple": 1.2, "pear": 0.8}


class Office:
    """`ledger` holds what changed the world, in order; `reads` what was looked up."""

    def __init__(self) -> None:
        self.ledger: list[tuple[str, Any]] = []
        self.reads: list[tuple[str, Any]] = []
        self.stock: dict[str, int] = {"apple": 3, "pear": 0}
        self.failures = 0

    @property
    def tools(self) -> list[Any]:
        office = self

        @tool(effect="read")
        async def list_events(calendar_id: Literal["work", "home"], limit: int = 50) -> list[Event]:
            """List the events of a calendar, the earliest first.

            Args:
                calendar_id: Which calendar.
                limit: At most this many.
            """
            await asyncio.sleep(0.001)
            office.reads.append(("list_events", calendar_id))
            return EVENTS[:limit] if calendar_id == "work" else []

        @tool(effect="read")
        def price(item: str) -> float:
            """Look up the price of an item."""
            office.reads.append(("price", item))
            if item not in PRICES:
                raise LookupError(f"no such item: {item}")
            return PRICES[item]

        @tool(effect="read")
        async def search(query: str, page: int = 1) -> Any:
            """Search the archive."""
            office.reads.append(("search", query))
            hits = [{"url": f"https://x.org/{i}", "headline": f"{query} {i}"} for i in range(3)]
            return {"results": hits if query != "nothing" else [], "page": page}

        @tool(effect="read")
        async def stock_of(item: str) -> int:
            """Tell how many of an item are in stock."""
            office.reads.append(("stock_of", item))
            return office.stock[item]

        async def send_mail(to: str, subject: str, body: str = "") -> Sent:
            """Send a mail."""
            await asyncio.sleep(0.001)
            if "@" not in to:
                raise ValueError(f"not an address: {to}")
            office.ledger.append(("send_mail", (to, subject)))
            return Sent(id=f"m{len(office.ledger)}", to=to)

        async def take(item: str, count: int) -> dict[str, int]:
            """Take items out of the stock."""
            if office.stock[item] < count:
                raise ValueError(f"only {office.stock[item]} of {item} left")
            office.stock[item] -= count
            office.ledger.append(("take", (item, count)))
            return {"left": office.stock[item]}

        async def unreliable(key: str) -> str:
            """Book a slot. Fails now and then."""
            office.failures += 1
            if office.failures == 1:
                raise ConnectionError("the booking server is busy")
            office.ledger.append(("unreliable", key))
            return f"booked {key}"

        @tool(effect="read", name="slow-report")
        async def slow_report(seconds: float) -> str:
            """Make a report, slowly."""
            await asyncio.sleep(seconds)
            return "report"

        return [list_events, price, search, stock_of, send_mail, take, unreliable, slow_report]
