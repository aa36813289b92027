"""A warehouse: stock by place, nested two deep, and orders to suppliers."""

from typing_extensions import TypedDict

from benchmarks.small_tasks.task import Change, Task, Toolset, tool

__all__ = ["TASKS", "TOOLS"]


class Level(TypedDict):
    """The pieces that there are, and the least that there should be."""

    pieces: int
    minimum: int


class Item(TypedDict):
    """One item. The weight is in kilograms."""

    code: str
    label: str
    weight: float
    level: Level


_LEDGER: list[Change] = []
_PLACES = {
    "north": [
        Item(code="P10", label="pump", weight=12.5, level=Level(pieces=3, minimum=5)),
        Item(code="V20", label="valve", weight=1.5, level=Level(pieces=40, minimum=20)),
    ],
    "south": [
        Item(code="H30", label="hose", weight=2.0, level=Level(pieces=10, minimum=15)),
        Item(code="F40", label="filter", weight=0.5, level=Level(pieces=25, minimum=25)),
    ],
}
_SUPPLIERS = {"P10": ("Aqua", 6), "V20": ("Aqua", 4), "H30": ("Flexi", 3), "F40": ("Clear", 9)}


@tool(effect="read")
async def list_places() -> list[str]:
    """The names of all places."""
    return list(_PLACES)


@tool(effect="read")
async def list_stock(place: str) -> list[Item]:
    """List the items that are kept at a place."""
    if place not in _PLACES:
        raise ValueError(f"there is no place {place!r}")
    return _PLACES[place]


@tool(effect="read")
async def get_supplier(code: str):  # type: ignore[no-untyped-def]
    """Get the supplier of an item, with the days that a delivery takes."""
    if code not in _SUPPLIERS:
        raise ValueError(f"there is no item {code!r}")
    name, days = _SUPPLIERS[code]
    return {"supplier": {"name": name}, "delivery_days": days}


@tool(effect="write")
async def order_item(code: str, pieces: int) -> str:
    """Order pieces of an item from its supplier. Returns the number of the order."""
    if pieces <= 0:
        raise ValueError("pieces must be more than 0")
    _LEDGER.append(("order_item", code, pieces))
    return f"O{len(_LEDGER)}"


TOOLS = Toolset(name="warehouse", functions=(list_places, list_stock, get_supplier, order_item), ledger=_LEDGER)

TASKS = (
    Task(
        name="warehouse-weight",
        toolset="warehouse",
        text="What do all pieces of all items in the north place weigh together, in kilograms?",
        expected=97.5,
    ),
    Task(
        name="warehouse-low",
        toolset="warehouse",
        text="List the labels of the items of all places that have fewer pieces than their minimum.",
        expected=["pump", "hose"],
    ),
    Task(
        name="warehouse-days",
        toolset="warehouse",
        text="How many days does a delivery of H30 take? Return the number.",
        expected=3,
    ),
    Task(
        name="warehouse-order",
        toolset="warehouse",
        text="In both the north and the south place, order for each item with too few pieces as many as are missing to its "
        "minimum. Return a dict from the item's code to the number of pieces that were ordered.",
        expected={"P10": 2, "H30": 5},
        changes=[("order_item", "P10", 2), ("order_item", "H30", 5)],
    ),
)
