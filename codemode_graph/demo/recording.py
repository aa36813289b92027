# ruff: noqa: E501  (the lines are the model's)
"""What a model wrote for the demo's task."""

from codemode_graph.demo.recorded import Recording

__all__ = ["RECORDED_FROM", "RECORDINGS"]

RECORDED_FROM = "Qwen2.5-Coder-1.5B-Instruct, 2026-11-22"

RECORDINGS: list[Recording] = [
    (
        """```python
import asyncio

async def main():
    # Look up unpaid orders that are more than 50 euros, send a reminder for each, and return the customer's id and the amount of each.
    unpaid_orders = await tools['list-orders'](status='unpaid')
    orders_to_remind = [order for order in unpaid_orders if order['total'] > 50]
    reminders = await asyncio.gather(*[tools['send_reminder'](customer_id=order['customer_id'], amount=order['total']) for order in orders_to_remind])
    return [(order['customer_id'], order['total']) for order, reminder in zip(orders_to_remind, reminders)]
```""",
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

In this updated program, we first look up the customer using `tools['get-customer']`. If the customer has a mail address, we send a reminder using `tools['send_reminder']`. If not, we send a reminder using `tools['send_letter']`. We also add a try-except block to catch any `ValueError` that might occur if the customer does not have a mail address.""",
        1590,
        420,
    ),
]
