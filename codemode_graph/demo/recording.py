"""What a model wrote for the demo's task."""

from codemode_graph.demo.recorded import Recording

__all__ = ["RECORDED_FROM", "RECORDINGS"]

RECORDED_FROM = "TBD"

RECORDINGS: list[Recording] = [
    (
        """```python
# Find unpaid orders, group by customer.
import asyncio

async def main():
    orders = await tools['list-orders'](status='unpaid')
    owed = {}
    for order in orders:
        owed[order['customer']] = owed.get(order['customer'], 0) + order['amount']
    result = []
    for customer_id, total in owed.items():
        if total > 100:
            customer = await tools['get-customer'](customer_id=customer_id)
            await tools['send_reminder'](email=customer['email'], amount=total)
            result.append({'name': customer['name'], 'eur': total, 'usd': await tools['convert'](amount=total, currency='USD')})
    return result
```""",
        700,
        200,
    ),
    (
        """```python
import asyncio

async def main():
    orders = await tools['list-orders'](status='unpaid')
    owed = {}
    for order in orders:
        owed[order['customer_id']] = owed.get(order['customer_id'], 0) + order['total']
    result = []
    for customer_id, total in owed.items():
        if total > 100:
            customer = await tools['get-customer'](customer_id=customer_id)
            await tools['send_reminder'](email=customer['email'], amount=total)
            result.append({'name': customer['name'], 'eur': total, 'usd': await tools['convert'](amount=total, currency='US')})
    return result
```""",
        700,
        200,
    ),
    (
        """```python
import asyncio

async def main():
    orders = await tools['list-orders'](status='unpaid')
    owed = {}
    for order in orders:
        owed[order['customer_id']] = owed.get(order['customer_id'], 0) + order['total']
    result = []
    for customer_id, total in owed.items():
        if total > 100:
            customer = await tools['get-customer'](customer_id=customer_id)
            await tools['send_reminder'](email=customer['email'], amount=total)
            result.append({'name': customer['name'], 'eur': total, 'usd': await tools['convert'](amount=total, currency='USD')})
    return result
```""",
        700,
        200,
    ),
]
