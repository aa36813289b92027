"""A bank: arguments that a model may pass by position, and transfers."""

from typing_extensions import TypedDict

from benchmarks.small_tasks.task import Change, Task, Toolset, tool

__all__ = ["TASKS", "TOOLS"]


class Account(TypedDict):
    """One account."""

    number: str
    owner: str
    balance: float


_LEDGER: list[Change] = []
_ACCOUNTS = [
    Account(number="A1", owner="Ines", balance=250.0),
    Account(number="A2", owner="Ines", balance=60.0),
    Account(number="A3", owner="Ravi", balance=40.0),
    Account(number="A4", owner="Ines", balance=15.0),
]
_RATES = {("EUR", "USD"): 1.2, ("EUR", "CHF"): 0.9}


@tool(effect="read", name="list-accounts")
def list_accounts(owner: str) -> list[Account]:
    """List a person's accounts, with their balances in EUR."""
    return [account for account in _ACCOUNTS if account["owner"] == owner]


@tool(effect="read", name="get-balance")
def get_balance(number: str) -> float:
    """An account's balance in EUR."""
    for account in _ACCOUNTS:
        if account["number"] == number:
            moved = [
                (-amount if source == number else amount if target == number else 0)
                for _, source, target, amount in _LEDGER
            ]
            return account["balance"] + sum(moved)
    raise ValueError(f"no account has the number {number!r}")


@tool(effect="read", name="convert")
def convert(amount: float, source: str, target: str) -> float:
    """Convert an amount between currencies such as "EUR" and "USD"."""
    if (source, target) not in _RATES:
        raise ValueError(f"no rate from {source!r} to {target!r}")
    return round(amount * _RATES[source, target], 2)


@tool(effect="write", name="transfer")
def transfer(source: str, target: str, amount: float) -> str:
    """Transfer EUR from one account to another. Returns the receipt's number."""
    if amount <= 0:
        raise ValueError("the amount must be more than 0")
    _LEDGER.append(("transfer", source, target, float(amount)))
    return f"T{len(_LEDGER)}"


TOOLS = Toolset(name="bank", functions=(list_accounts, get_balance, convert, transfer), ledger=_LEDGER)

TASKS = (
    Task(
        name="bank-position",
        toolset="bank",
        text="What is the balance of account A1 in USD?",
        expected=300,
    ),
    Task(
        name="bank-sum",
        toolset="bank",
        text="How much money does Ines have in all her accounts together?",
        expected=325,
    ),
    Task(
        name="bank-transfer",
        toolset="bank",
        text="Transfer 50 from A1 to A2. Return the balance of A2 after that.",
        expected=110,
        changes=[("transfer", "A1", "A2", 50.0)],
    ),
    Task(
        name="bank-topup",
        toolset="bank",
        text="Top up each of Ines's accounts that has less than 100 to exactly 100, from account A9. "
        "Return the numbers of the accounts that were topped up.",
        expected=["A2", "A4"],
        changes=[("transfer", "A9", "A2", 40.0), ("transfer", "A9", "A4", 85.0)],
    ),
    Task(
        name="bank-empty",
        toolset="bank",
        text="Move everything that is in A3 to A1. Return the amount that was moved, in CHF.",
        expected=36,
        changes=[("transfer", "A3", "A1", 40.0)],
    ),
)
