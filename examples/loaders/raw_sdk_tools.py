"""Tools of a session that the MCP SDK opened, without any loader: a `ToolSpec` each.

This is for mcp 1. mcp 2 names the fields in snake case: `is_error`, `structured_content`, `read_only_hint`, `input_schema`.
"""

import asyncio
import sys
from typing import Any

from langchain_core.runnables import RunnableConfig
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client

from codemode_graph import ToolSpec, codemode

PROGRAM = """
orders = await tools['list-orders'](status='unpaid')
{'orders': len(orders), 'total': sum(order['total'] for order in orders)}
"""


def spec(session: ClientSession, tool: types.Tool) -> ToolSpec:
    """A tool as programs call it. A result that the server wrapped, because it is no object, is unwrapped.

    A server that gives no structured content gives texts.
    """

    async def call(arguments: dict[str, Any], config: RunnableConfig) -> Any:
        result = await session.call_tool(tool.name, arguments)
        text = "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))
        if result.isError:
            raise RuntimeError(text)
        value = result.structuredContent
        if value is None:
            return text
        return value["result"] if set(value) == {"result"} else value

    read_only = tool.annotations is not None and tool.annotations.readOnlyHint
    return ToolSpec(
        name=tool.name,
        call=call,
        description=tool.description or "",
        input_schema=tool.inputSchema,
        effect="read" if read_only else "write",
        source="mcp:shop",
    )


async def main() -> None:
    server = StdioServerParameters(command=sys.executable, args=["-m", "codemode_graph.demo.shop_server"])
    async with stdio_client(server) as (reading, writing), ClientSession(reading, writing) as session:
        await session.initialize()
        tools = [spec(session, tool) for tool in (await session.list_tools()).tools]
        async with codemode(tools=tools) as cm:
            result = await cm.run_code(PROGRAM)
            print(result["output"] if result["success"] else result["error"])


asyncio.run(main())
