"""Tools with results of every kind: models, typed dicts, dataclasses, literals, dates, plain dicts and anything."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, NotRequired

from pydantic import BaseModel
from typing_extensions import TypedDict

from codemode_graph import tool


class Owner(BaseModel):
    """Who has a ticket."""

    name: str
    email: str | None = None


class Ticket(BaseModel):
    """A ticket."""

    id: int
    title: str
    status: Literal["open", "closed"]
    owner: Owner
    tags: list[str] = []
    created: datetime
    due: date | None = None


class Row(TypedDict):
    """A line of an order."""

    sku: str
    price: float
    count: int
    status: Literal["open", "paid"]
    day: str
    note: NotRequired[str]


@dataclass
class Person:
    """Somebody."""

    id: int
    name: str
    manager: int | None
    city: str


class Detail(TypedDict):
    """More about somebody."""

    id: int
    name: str
    level: Literal["low", "high"]


def tickets() -> list[Ticket]:
    """List the tickets."""
    ann, bob = Owner(name="ann", email="a@x"), Owner(name="bob")
    return [
        Ticket(
            id=1,
            title="Fix login",
            status="open",
            owner=ann,
            tags=["web"],
            created=datetime(2026, 1, 5, 9),
            due=date(2026, 1, 9),
        ),
        Ticket(
            id=2,
            title="Add export",
            status="closed",
            owner=bob,
            tags=["api", "web"],
            created=datetime(2026, 2, 5, 9, 30),
        ),
        Ticket(id=3, title="Speed", status="open", owner=ann, created=datetime(2026, 2, 6, 9, 30)),
    ]


def ticket(id: int) -> Ticket:
    """Get a ticket."""
    return tickets()[id - 1]


def rows() -> list[Row]:
    """List the rows."""
    return [
        {"sku": "a", "price": 2.5, "count": 3, "status": "open", "day": "2026-01-02"},
        {"sku": "b", "price": 1.0, "count": 1, "status": "paid", "day": "2026-02-03", "note": "n"},
        {"sku": "a", "price": 4.0, "count": 2, "status": "paid", "day": "2026-01-09"},
    ]


def people() -> list[Person]:
    """List the people."""
    return [Person(1, "Ann", None, "Rome"), Person(2, "Bob", 1, "Paris"), Person(3, "Cy", 1, "Rome")]


def person(id: int) -> Person | None:
    """Get one, or None."""
    return next((each for each in people() if each.id == id), None)


def detail(name: str) -> Detail:
    """Get more about one."""
    return {"id": len(name), "name": name, "level": "low"}


def raw() -> dict:  # type: ignore[type-arg]
    """Get a dict of no declared type."""
    return {"items": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], "total": "12.50", "next": None}


def anything(x: Any = None) -> Any:
    """Get what has no type."""
    return [{"n": 1, "t": "2026-01-02"}, {"n": 2, "t": "2026-03-04"}]


def by_sku() -> dict[str, Row]:
    """Get rows by their article."""
    return {row["sku"]: row for row in rows()}


def by_number() -> dict[int, str]:
    """Get names by number, which are texts in JSON."""
    return {1: "one"}


def now() -> datetime:
    """Get the time."""
    return datetime(2026, 2, 10)


@tool(effect="write")
def send(to: str, text: str) -> str:
    """Send a text."""
    return "sent"


TOOLS: list[Callable[..., Any]] = [
    *(tickets, ticket, rows, people, person, detail, raw, anything, by_sku, by_number, now),
    send,
]
