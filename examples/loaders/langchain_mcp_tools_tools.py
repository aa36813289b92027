"""Tools that langchain-mcp-tools loaded: pip install langchain-mcp-tools.

It gives every result as text, and says nothing of effects: `MCPToolLoader` gives values, and knows what only reads.
"""

import asyncio
import sys

from langchain_mcp_tools import convert_mcp_to_langchain_tools

from codemode_graph import codemode

PROGRAM = """
import asyncio, json

texts = await asyncio.gather(*[tools['get-customer'](customer_id=customer) for customer in ['c1', 'c2']])
[json.loads(text)['name'] for text in texts]
"""


async def main() -> None:
    servers = {"shop": {"command": sys.executable, "args": ["-m", "codemode_graph.demo.shop_server"]}}
    tools, cleanup = await convert_mcp_to_langchain_tools(servers)
    try:
        async with codemode(tools=tools) as cm:
            result = await cm.run_code(PROGRAM)
            print(result["output"] if result["success"] else result["error"])
    finally:
        await cleanup()


asyncio.run(main())
