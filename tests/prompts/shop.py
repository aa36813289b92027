"""A small fixed set of tools for the prompts."""

from typing import Literal

from typing_extensions import TypedDict

from codemode_graph.tools import tool

__all__ = ["TOOLS"]


class Order(TypedDict):
    number: int
    customer: str
    total: float


@tool(effect="read", name="list-orders")
def list_orders(status: Literal["open", "paid"], limit: int = 50) -> list[Order]:
    """List the orders with a status.

    Args:
        status: Which orders.
        limit: The most that are listed, the newest first.
    """
    return [Order(number=1, customer="Ann", total=80.0), Order(number=2, customer="Bob", total=12.5)][:limit]


@tool(effect="read")
def stock(sku: str):  # type: ignore[no-untyped-def]
    """Return how many pieces of a product there are, and where."""
    return {"sku": sku, "places": [{"shelf": "A3", "pieces": 4}]}


@tool(effect="write")
def send_mail(to: str, text: str) -> str:
    """Send a mail."""
    if "@" not in to:
        raise ValueError(f"not a mail address: {to!r}")
    return "sent"


TOOLS = [list_orders, stock, send_mail]
