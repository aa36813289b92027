"""The MCP server of the demo, over stdio: the books of a small shop. Run it with `python -m`."""

from typing import Literal

from mcp.types import ToolAnnotations
from typing_extensions import TypedDict

from codemode_graph.mcp_sdk import FastMCP


class Order(TypedDict):
    """One order."""

    customer_id: str
    total: float
    paid: bool


class Customer(TypedDict):
    """One customer."""

    id: str
    name: str
    email: str | None


ORDERS = [
    Order(customer_id="c1", total=80.0, paid=False),
    Order(customer_id="c2", total=25.5, paid=False),
    Order(customer_id="c1", total=45.0, paid=False),
    Order(customer_id="c3", total=310.0, paid=True),
    Order(customer_id="c3", total=120.0, paid=False),
    Order(customer_id="c2", total=12.0, paid=False),
]
CUSTOMERS = [
    Customer(id="c1", name="Ann Ash", email="ann@example.com"),
    Customer(id="c2", name="Bob Birch", email="bob@example.com"),
    Customer(id="c3", name="Cat Cedar", email=None),
]

# At its default level the server logs every request to stderr, between the lines of the demo.
server = FastMCP("shop", log_level="WARNING")
_READ = ToolAnnotations(readOnlyHint=True)


@server.tool(name="list-orders", annotations=_READ)
def list_orders(status: Literal["paid", "unpaid"]) -> list[Order]:
    """List the orders that are paid, or those that are unpaid."""
    return [order for order in ORDERS if order["paid"] == (status == "paid")]


@server.tool(name="get-customer", annotations=_READ)
def get_customer(customer_id: str) -> Customer:
    """Look up a customer by id."""
    for customer in CUSTOMERS:
        if customer["id"] == customer_id:
            return customer
    raise ValueError(f"no customer has the id {customer_id!r}")


if __name__ == "__main__":
    server.run("stdio")
