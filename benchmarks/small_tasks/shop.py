"""A shop: orders, customers, products."""

from typing import Literal

from typing_extensions import TypedDict

from benchmarks.small_tasks.task import Change, Task, Toolset, tool

__all__ = ["TASKS", "TOOLS"]


class Order(TypedDict):
    """One order."""

    id: int
    customer_id: str
    sku: str
    quantity: int
    total: float
    status: Literal["open", "paid"]


class Customer(TypedDict):
    """One customer."""

    id: str
    name: str
    city: str


class Product(TypedDict):
    """One product."""

    sku: str
    title: str
    price: float
    stock: int


_LEDGER: list[Change] = []
_CUSTOMERS = [
    Customer(id="c1", name="Ann", city="Bern"),
    Customer(id="c2", name="Bob", city="Graz"),
    Customer(id="c3", name="Cleo", city="Bern"),
]
_PRODUCTS = [
    Product(sku="H1", title="hammer", price=20.0, stock=4),
    Product(sku="S1", title="saw", price=35.0, stock=0),
    Product(sku="D1", title="drill", price=90.0, stock=2),
    Product(sku="N1", title="nails", price=2.5, stock=300),
]
_ORDERS = [
    Order(id=1, customer_id="c1", sku="H1", quantity=2, total=40.0, status="open"),
    Order(id=2, customer_id="c2", sku="S1", quantity=1, total=35.0, status="paid"),
    Order(id=3, customer_id="c2", sku="D1", quantity=1, total=90.0, status="open"),
    Order(id=4, customer_id="c1", sku="N1", quantity=10, total=25.0, status="open"),
    Order(id=5, customer_id="c3", sku="D1", quantity=2, total=180.0, status="paid"),
]


@tool(effect="read")
def list_orders(status: Literal["open", "paid"]) -> list[Order]:
    """List the orders with a status."""
    return [order for order in _ORDERS if order["status"] == status]


@tool(effect="read")
def get_customer(customer_id: str) -> Customer:
    """Get a customer by id."""
    for customer in _CUSTOMERS:
        if customer["id"] == customer_id:
            return customer
    raise ValueError(f"no customer has the id {customer_id!r}")


@tool(effect="read")
def list_products() -> list[Product]:
    """List all products, with price and stock."""
    return _PRODUCTS


@tool(effect="write")
def refund(order_id: int, amount: float) -> str:
    """Refund an amount of an order. Returns the refund's number."""
    _LEDGER.append(("refund", order_id, float(amount)))
    return f"R{len(_LEDGER)}"


TOOLS = Toolset(name="shop", functions=(list_orders, get_customer, list_products, refund), ledger=_LEDGER)

TASKS = (
    Task(
        name="shop-sum",
        toolset="shop",
        text="What is the sum of the totals of all open orders?",
        expected=155,
    ),
    Task(
        name="shop-filter",
        toolset="shop",
        text="List the titles of the products that are in stock and cost more than 10.",
        expected=["hammer", "drill"],
    ),
    Task(
        name="shop-chain",
        toolset="shop",
        text="List the names of the customers who have an open order, each once.",
        expected=["Ann", "Bob"],
    ),
    Task(
        name="shop-group",
        toolset="shop",
        text="For each customer with open orders, give the customer's name and the sum of the totals of those orders.",
        expected=[("Ann", 65), ("Bob", 90)],
    ),
    Task(
        name="shop-write",
        toolset="shop",
        text="Refund 10 percent of the total of every paid order. Return the refund numbers.",
        expected=["R1", "R2"],
        changes=[("refund", 2, 3.5), ("refund", 5, 18.0)],
    ),
)
