"""The tools that every system has, and the value of every program."""

from typing import Any

from typing_extensions import TypedDict

__all__ = ["EXPECTED", "FUNCTION_PROGRAMS", "GATHERED", "LISTED", "LOOPED", "LOOPED_FAR", "TOOLS"]

LOOPED, LOOPED_FAR, GATHERED, LISTED = 10, 100, 64, 20
"""The calls of the programs: in a loop, in a long loop, in one gather, and for the items of a list."""


class Item(TypedDict):
    """An item for sale. The price is in cents."""

    id: int
    name: str
    price: int
    in_stock: bool


class Listing(TypedDict):
    """The ids of items, and how many there are in all."""

    ids: list[int]
    total: int


class Customer(TypedDict):
    """Somebody who buys."""

    id: int
    name: str
    email: str


class Order(TypedDict):
    """An item that somebody bought."""

    id: int
    item_id: int
    quantity: int


async def list_items(limit: int) -> Listing:
    """List the ids of items for sale.

    Args:
        limit: How many at most.
    """
    return {"ids": list(range(limit)), "total": 500}


async def get_item(id: int) -> Item:
    """Get one item.

    Args:
        id: The item's id.
    """
    return {"id": id, "name": f"item {id}", "price": 100 + 37 * id % 90, "in_stock": id % 3 != 0}


async def search_items(query: str, limit: int = 10) -> Listing:
    """Find items by words in their names.

    Args:
        query: The words.
        limit: How many at most.
    """
    return {"ids": [len(query)][:limit], "total": 1}


async def get_customer(id: int) -> Customer:
    """Get one customer.

    Args:
        id: The customer's id.
    """
    return {"id": id, "name": f"customer {id}", "email": f"customer{id}@example.com"}


async def get_order(id: int) -> Order:
    """Get one order.

    Args:
        id: The order's id.
    """
    return {"id": id, "item_id": id % 7, "quantity": 1}


async def place_order(customer_id: int, item_id: int, quantity: int = 1) -> Order:
    """Order an item for a customer.

    Args:
        customer_id: Who buys.
        item_id: What.
        quantity: How many.
    """
    return {"id": customer_id, "item_id": item_id, "quantity": quantity}


TOOLS = (list_items, get_item, search_items, get_customer, get_order, place_order)


def _price(id: int) -> int:
    return 100 + 37 * id % 90


_WANTED = [_price(id) for id in range(LISTED) if id % 3 != 0 and _price(id) < 150]

EXPECTED: dict[str, Any] = {
    "no call": {"sum": 2},
    "1 call": {"price": _price(1)},
    f"{LOOPED} calls in a loop": {"total": sum(map(_price, range(LOOPED)))},
    f"{LOOPED_FAR} calls in a loop": {"total": sum(map(_price, range(LOOPED_FAR)))},
    f"{GATHERED} calls in a gather": {"total": sum(map(_price, range(GATHERED)))},
    f"list {LISTED}, get each, filter, sum": {"count": len(_WANTED), "total": sum(_WANTED)},
}
"""The value of each program, by the program's name, in the order of the tables."""

_LOOP = """\
total = 0
for number in range({count}):
    total += (await get_item(id=number))["price"]
{{"total": total}}
"""

FUNCTION_PROGRAMS = (
    '{"sum": 1 + 1}\n',
    '{"price": (await get_item(id=1))["price"]}\n',
    _LOOP.format(count=LOOPED),
    _LOOP.format(count=LOOPED_FAR),
    f"""\
import asyncio
items = await asyncio.gather(*[get_item(id=number) for number in range({GATHERED})])
{{"total": sum(item["price"] for item in items)}}
""",
    f"""\
import asyncio
listing = await list_items(limit={LISTED})
items = await asyncio.gather(*[get_item(id=number) for number in listing["ids"]])
wanted = [item for item in items if item["in_stock"] and item["price"] < 150]
{{"count": len(wanted), "total": sum(item["price"] for item in wanted)}}
""",
)
"""The programs where tools are functions, and the last expression is the value: in the order of `EXPECTED`."""
