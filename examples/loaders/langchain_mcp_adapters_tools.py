"""Tools that langchain-mcp-adapters loaded: pip install langchain-mcp-adapters. Its version 0.3 needs mcp 1.

The tools keep the session that they were loaded with: without one, every call would start the server anew.
"""

import asyncio
import sys

from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools

from codemode_graph import codemode

PROGRAM = """
orders = await tools['list-orders'](status='unpaid')
{'orders': len(orders), 'total': sum(order['total'] for order in orders)}
"""


async def main() -> None:
    client = MultiServerMCPClient(
        {"shop": {"transport": "stdio", "command": sys.executable, "args": ["-m", "codemode_graph.demo.shop_server"]}}
    )
    async with client.session("shop") as session, codemode(tools=await load_mcp_tools(session)) as cm:
        result = await cm.run_code(PROGRAM)
        print(result["output"] if result["success"] else result["error"])


asyncio.run(main())
