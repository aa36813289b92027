"""The node where a run waits for people."""

from codemode_sandboxes.guest.json_values import to_json
from langchain_core.runnables import RunnableConfig
from langgraph.types import interrupt

from codemode_graph.approvals import approval_request, read_decisions
from codemode_graph.nodes.node import Update
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState, Decision
from codemode_graph.tools.hints import to_plain

__all__ = ["approve"]


async def approve(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Interrupt the run, and note what was decided.

    All calls that need a person become one interrupt; an answer that fits none is asked for again. A tool that asks is sent
    here by itself, so its question is an interrupt of its own, just as the tool called it.

    Raises:
        TypeError, ValueError: An answer to a tool is no data. The question stays open.
    """
    gated = [call for call in state["pending"] if call["reason"] != "tool"]
    if not gated:
        (call,) = state["pending"]
        answer = interrupt(call["question"]["value"], response_schema=call["question"]["schema"])
        message = to_json(to_plain(answer), max_bytes=parts.limits.value_bytes)
        return {"decisions": {call["key"]: Decision(type="answer", message=message)}}
    # One interrupt an execution: LangGraph takes an answer to the first for the second one too.
    answer = interrupt(approval_request(state, gated, problem=state.get("problem")))
    try:
        return {"decisions": read_decisions(gated, answer, first=not state["decisions"]), "problem": None}
    except ValueError as error:
        return {"problem": str(error)}  # the program comes to the same calls again, and the person is asked again
