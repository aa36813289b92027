"""The graph that LangGraph Server serves as `agent`: an agent that calls its tools itself, or by a program.

It decides which is better. Calls that need an approval wait for a person either way.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langchain.agents.middleware import HumanInTheLoopMiddleware
from langgraph.graph.state import CompiledStateGraph

from codemode_graph import create_agent
from codemode_graph.integrations.agent import to_langchain
from codemode_graph.tools.load import load_tools
from graphs.parts import chat_model, open_tools, policies, sandbox

__all__ = ["make_graph"]


@asynccontextmanager
async def make_graph() -> AsyncIterator[CompiledStateGraph[Any, Any, Any, Any]]:
    """Make the graph for one run. The server adds checkpointer and store."""
    async with open_tools() as tools:
        gated = [to_langchain(spec).name for spec in load_tools(tools, policies=policies()) if spec.policy.approval]
        yield create_agent(
            tools,
            llm=chat_model(),
            backend=sandbox(),
            system_prompt="You do what the user asks with the tools that you have, and answer shortly.",
            middleware=[HumanInTheLoopMiddleware(interrupt_on=dict.fromkeys(gated, True))],
            name="agent",
        )
