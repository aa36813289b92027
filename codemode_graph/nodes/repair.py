"""The node that asks for a better program."""

from langchain_core.runnables import RunnableConfig

from codemode_graph.model import repair_message
from codemode_graph.nodes.node import Update
from codemode_graph.nodes.write import write_program
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState

__all__ = ["repair"]


async def repair(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Show the model what came of its program, and begin the next attempt with what it writes then."""
    request = repair_message(state)
    return await write_program(request, parts, config, attempts=state["attempts"], usage=state["usage"])
