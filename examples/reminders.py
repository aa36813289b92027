"""Twenty lines: two functions, one task. A model writes the program that calls them.

OPENAI_API_KEY=... python examples/reminders.py
"""

from dataclasses import dataclass

from codemode_graph import codemode, tool


@dataclass
class Order:
    customer: str
    total: float


@tool(effect="read")
def list_unpaid_orders() -> list[Order]:
    """List the orders that are not paid."""
    return [Order("Ann", 80.0), Order("Ann", 45.0), Order("Bob", 12.0)]


@tool(effect="write")
def send_reminder(customer: str, amount: float) -> str:
    """Remind a customer of what is due."""
    print(f"reminding {customer} of {amount}")
    return "sent"


cm = codemode(tools=[list_unpaid_orders, send_reminder], code_model="openai:gpt-5.2")
result = cm.run_sync("Remind every customer of what they owe, and return the sums.")
print(result["output"] if result["success"] else result["error"])
print("attempts:", len(result["attempts"]))
