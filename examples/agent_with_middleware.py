"""A LangChain agent with code mode over its own tools: it calls a tool itself, or writes a program that calls many.

Needs a key: OPENAI_API_KEY. CODEMODE_MODEL names another model.
"""

import asyncio
import os

from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.messages import HumanMessage

from codemode_graph import CodeModeMiddleware, tool

OWED = {"ann": 80, "bob": 12, "cy": 31}


@tool(effect="read")
async def owed(who: str) -> int:
    """Return what somebody is owed, in euros."""
    return OWED[who]


async def pay(who: str, amount: int) -> str:
    """Pay somebody."""
    return f"paid {who} {amount}"


async def main() -> None:
    model = init_chat_model(os.environ.get("CODEMODE_MODEL", "openai:gpt-5.2"))
    agent = create_agent(model, tools=[owed, pay], middleware=[CodeModeMiddleware()])
    state = await agent.ainvoke({"messages": [HumanMessage("Pay ann, bob and cy what they are owed.")]})
    for message in state["messages"]:
        message.pretty_print()


asyncio.run(main())
