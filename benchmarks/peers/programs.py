"""The programs that codemode-graph runs, in the order of `EXPECTED`."""

from benchmarks.peers.tools import GATHERED, LISTED, LOOPED, LOOPED_FAR

__all__ = ["PROGRAMS"]

_LOOP = """\
total = 0
for number in range({count}):
    total += (await tools.get_item(id=number))["price"]
return {{"total": total}}
"""

PROGRAMS = (
    'return {"sum": 1 + 1}\n',
    'return {"price": (await tools.get_item(id=1))["price"]}\n',
    _LOOP.format(count=LOOPED),
    _LOOP.format(count=LOOPED_FAR),
    f"""\
import asyncio
items = await asyncio.gather(*[tools.get_item(id=number) for number in range({GATHERED})])
return {{"total": sum(item["price"] for item in items)}}
""",
    f"""\
import asyncio
listing = await tools.list_items(limit={LISTED})
items = await asyncio.gather(*[tools.get_item(id=number) for number in listing["ids"]])
wanted = [item for item in items if item["in_stock"] and item["price"] < 150]
return {{"count": len(wanted), "total": sum(item["price"] for item in wanted)}}
""",
)
