"""Code mode as a tool of OpenAI's Responses API: the loop with the official client.

Needs a key: OPENAI_API_KEY.
"""

import asyncio
from typing import Any

from openai import AsyncOpenAI

from codemode_graph import codemode, tool

STOCK = {"apple": 3, "pear": 0, "plum": 12}


@tool(effect="read")
async def stock_of(item: str) -> int:
    """Return how many of an item are in stock."""
    return STOCK[item]


async def main() -> None:
    conversation: list[Any] = [{"role": "user", "content": "Which of apple, pear and plum are out of stock?"}]
    async with AsyncOpenAI() as client, codemode(tools=[stock_of], code_model="openai:gpt-5.2") as cm:
        while True:
            tools: list[Any] = [cm.as_openai_tool()]
            response = await client.responses.create(model="gpt-5.2", input=conversation, tools=tools)
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                break
            conversation += [*response.output, *await asyncio.gather(*map(cm.answer_openai, calls))]
        print(response.output_text)


asyncio.run(main())
