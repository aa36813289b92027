"""The demo's Python functions: a post office, and a bank's list of rates."""

from codemode_graph.tools import tool

__all__ = ["convert", "outbox", "send_reminder"]

outbox: list[tuple[str, float]] = []
"""The reminders that were really sent, with the sum in each."""

RATES = {"USD": 1.25, "GBP": 0.8}


async def send_reminder(email: str, amount: float) -> str:
    """Remind a customer by mail of an amount that is due, in euros.

    Args:
        email: The customer's address.
        amount: What is due.
    """
    if "@" not in email:
        raise ValueError(f"not a mail address: {email!r}")
    outbox.append((email, amount))
    return f"sent, as mail {len(outbox)}"


@tool(effect="read")
def convert(amount: float, currency: str) -> float:
    """Convert euros into another currency.

    Args:
        amount: In euros.
        currency: "USD" or "GBP".
    """
    if currency not in RATES:
        raise ValueError(f"no rate for {currency!r}; there are rates for {', '.join(RATES)}")
    return round(amount * RATES[currency], 2)
