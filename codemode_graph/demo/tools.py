"""The demo's Python functions: mail, and the post."""

from codemode_graph.tools import tool

__all__ = ["outbox", "send_letter", "send_reminder"]

outbox: list[tuple[str, float]] = []
"""The reminders that were really sent: to whom, by what, and of what amount."""

_NO_MAIL = {"c3"}


@tool(effect="write")
async def send_reminder(customer_id: str, amount: float) -> str:
    """Send a customer a reminder of an amount that is due, in euros, by mail."""
    if customer_id in _NO_MAIL:
        raise ValueError(f"customer {customer_id!r} has no mail address; use send_letter")
    outbox.append((f"{customer_id}, by mail", amount))
    return "sent"


@tool(effect="write")
async def send_letter(customer_id: str, amount: float) -> str:
    """Send a customer a reminder of an amount that is due, in euros, by post. It costs a stamp."""
    outbox.append((f"{customer_id}, by post", amount))
    return "posted"
