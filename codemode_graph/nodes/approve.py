"""The node where a run waits for people."""

from langchain_core.runnables import RunnableConfig
from langgraph.types import interrupt

from codemode_graph.approvals import approval_request, read_decisions
from codemode_graph.nodes.node import Update
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState

__all__ = ["approve"]


async def approve(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Interrupt the run with all calls that wait, and note what was decided. An answer that fits none is asked for again."""
    problem: str | None = None
    while True:
        answer = interrupt(approval_request(state, problem=problem))
        try:
            decided = read_decisions(state["pending"], answer)
        except ValueError as error:
            problem = str(error)
        else:
            return {"decisions": {**state["decisions"], **decided}, "pending": []}
