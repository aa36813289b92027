"""Tools that mcp-use loaded: pip install mcp-use.

It gives a list as one text, and says nothing of effects: `MCPToolLoader` gives values, and knows what only reads.
"""

import asyncio
import os
import sys

os.environ.setdefault("MCP_USE_ANONYMIZED_TELEMETRY", "false")

from mcp_use import MCPClient
from mcp_use.agents.adapters import LangChainAdapter

from codemode_graph import codemode

PROGRAM = """
import asyncio

customers = await asyncio.gather(*[tools['get-customer'](customer_id=customer) for customer in ['c1', 'c2']])
[customer['name'] for customer in customers]
"""


async def main() -> None:
    client = MCPClient(
        {"mcpServers": {"shop": {"command": sys.executable, "args": ["-m", "codemode_graph.demo.shop_server"]}}}
    )
    await client.create_all_sessions()
    try:
        adapter = LangChainAdapter()
        await adapter.create_all(client)
        async with codemode(tools=adapter.tools) as cm:
            result = await cm.run_code(PROGRAM)
            print(result["output"] if result["success"] else result["error"])
    finally:
        await client.close_all_sessions()


asyncio.run(main())
