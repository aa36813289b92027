"""The node that finds tools for a task, where there are too many to show."""

import asyncio

from langchain_core.runnables import RunnableConfig

from codemode_graph.nodes.node import Update, read_input
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState


async def discover(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Find the tools that fit the task. The state keeps their names, and the prompt shows their cards first."""
    task, code = read_input(state)
    if code is not None:
        return {"found": []}
    found = await asyncio.to_thread(parts.catalogue.find, task)
    return {"found": [spec.name for spec in found]}
