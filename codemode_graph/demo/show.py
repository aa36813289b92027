"""The demo: a task over the books of a shop and a post office, with a recorded model where there is no key."""

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr
from rich.console import Console

from codemode_graph.api import CodeMode, RunResult, codemode
from codemode_graph.mcp import MCPToolLoader
from codemode_graph.tools import tool

TASK = (
    "Send a reminder for each unpaid order of more than 50 euros. "
    "Return a list with the customer's id and the amount of each."
)

outbox: list[tuple[str, float]] = []
"""The reminders that were sent: the customer with the way, and the amount."""

# The recorded program does not know of this customer and fails, so that the demo shows a repair.
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


async def run_demo(
    model: str | BaseChatModel | None, show: Callable[[CodeMode, str], Awaitable[RunResult]]
) -> RunResult:
    """Run the demo's task, and print the reminders that it sent.

    Args:
        model: Writes the program. None stands for OpenAI's model where its key is set, else for the recorded one.
        show: Runs the task and shows it.
    """
    console = Console(stderr=True)
    if model is None and not os.environ.get("OPENAI_API_KEY"):
        console.print(
            f"[bold yellow]The model's words are recorded[/] ({_RECORDED_FROM}): there is no OPENAI_API_KEY and no --model. "
            "Everything else happens now: the tools are called, the sandbox runs the program.\n",
            highlight=False,
        )
        model = RecordedModel(model_name="recorded")
    async with MCPToolLoader() as mcp:
        mcp.add_stdio_server("shop", sys.executable, ["-m", "codemode_graph.demo.shop_server"])
        tools = [*await mcp.load(), send_reminder, send_letter]
        async with codemode(tools=tools, code_model=model) as cm:
            result = await show(cm, TASK)
    console.print(f"\n[bold]Reminders really sent:[/] {len(outbox)}", highlight=False)
    for customer, amount in outbox:
        console.print(f"  {customer}: {amount:.2f} euros", highlight=False)
    console.print()
    return result


class RecordedModel(BaseChatModel):
    """Returns the recordings in turn, whatever it is asked."""

    model_name: str
    _next: int = PrivateAttr(default=0)

    @property
    def _llm_type(self) -> str:
        return "recorded"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # The demo can run again in one process, such as a notebook's, so the recordings start over at their end.
        text, read, written = _RECORDINGS[self._next % len(_RECORDINGS)]
        self._next += 1
        usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text, usage_metadata=usage))])


_RECORDED_FROM = "Qwen2.5-Coder-1.5B-Instruct, 2026-11-22"
# A model's own words for this task, each with the tokens that it read and wrote.
_RECORDINGS: list[tuple[str, int, int]] = [
    (
        """```python
import asyncio

async def main():
    # Look up unpaid orders that are more than 50 euros, send a reminder for each, and return the customer's id and the amount of each.
    unpaid_orders = await tools['list-orders'](status='unpaid')
    orders_to_remind = [order for order in unpaid_orders if order['total'] > 50]
    reminders = await asyncio.gather(*[tools['send_reminder'](customer_id=order['customer_id'], amount=order['total']) for order in orders_to_remind])
    return [(order['customer_id'], order['total']) for order, reminder in zip(orders_to_remind, reminders)]
```""",  # noqa: E501
        1074,
        146,
    ),
    (
        """The line that failed is line 7, `reminders = await asyncio.gather(*[tools['send_reminder'](customer_id=order['customer_id'], amount=order['total']) for order in orders_to_remind])`. The error message indicates that the customer 'c3' has no mail address; use send_letter.

To fix this, we need to add a check to see if the customer has a mail address before sending a reminder. If not, we should use the `send_letter` function instead.

Here's the updated program:

```python
import asyncio

async def main():
    # Look up unpaid orders that are more than 50 euros, send a reminder for each, and return the customer's id and the amount of each.
    unpaid_orders = await tools['list-orders'](status='unpaid')
    orders_to_remind = [order for order in unpaid_orders if order['total'] > 50]
    reminders = []
    for order in orders_to_remind:
        try:
            customer = await tools['get-customer'](customer_id=order['customer_id'])
            if customer['email']:
                reminders.append(tools['send_reminder'](customer_id=order['customer_id'], amount=order['total']))
            else:
                reminders.append(tools['send_letter'](customer_id=order['customer_id'], amount=order['total']))
        except ValueError as e:
            print(f"Error sending reminder for {order['customer_id']}: {e}")
    return [(order['customer_id'], order['total']) for order, reminder in zip(orders_to_remind, reminders)]
```

In this updated program, we first look up the customer using `tools['get-customer']`. If the customer has a mail address, we send a reminder using `tools['send_reminder']`. If not, we send a reminder using `tools['send_letter']`. We also add a try-except block to catch any `ValueError` that might occur if the customer does not have a mail address.""",  # noqa: E501
        1590,
        420,
    ),
]
