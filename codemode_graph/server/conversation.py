"""A conversation in which code mode is one node.

A router decides whether the tools are needed, code mode does what they are needed for, and the model words the answer.
The conversation is this graph's own; it shares `task`, `output` and `error` with code mode, and nothing else.
"""

import json
from typing import Annotated, Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, SystemMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from codemode_graph.preview import sample
from codemode_graph.state import Failure

_ROUTE = """\
Decide whether the last message can be answered from the conversation alone, or whether something has to be looked up or \
done with tools. Tools there are: {tools}."""
_ANSWER = """\
Answer the last message of the conversation, shortly and in its language. {found}"""


class Route(BaseModel):
    """The router's answer."""

    task: str = Field(
        description="What is to be looked up or done with the tools, whole and in plain words, with the form of the answer. "
        "Empty where no tool is needed."
    )


class Input(TypedDict):
    """The input of a run."""

    messages: Annotated[list[AnyMessage], add_messages]


class State(Input, total=False):
    """The conversation, and the keys that code mode shares."""

    task: str
    output: Any
    error: Failure | None


def compose(
    codemode: CompiledStateGraph[Any, Any, Any, Any],
    model: BaseChatModel,
    tools: list[str],
    *,
    instructions: str = "",
) -> StateGraph[Any, Any, Any, Any]:
    """Put code mode between a router and an answer.

    Args:
        codemode: Code mode, compiled without a checkpointer: it takes the outer graph's.
        model: Routes and answers.
        tools: The names of what code mode can call, for the router.
        instructions: Added to what the router and the answer are told.
    """

    def prompt(text: str) -> SystemMessage:
        return SystemMessage("\n\n".join(filter(None, [text, instructions])))

    async def route(state: State) -> dict[str, Any]:
        messages = [prompt(_ROUTE.format(tools=", ".join(tools))), *state["messages"]]
        decided = await model.with_structured_output(Route.model_json_schema()).ainvoke(messages)
        return {"task": Route.model_validate(decided).task.strip(), "output": None, "error": None}

    async def answer(state: State) -> dict[str, Any]:
        messages = [prompt(_ANSWER.format(found=_found(state))), *state["messages"]]
        return {"messages": [await model.ainvoke(messages)]}

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(State, input_schema=Input)
    graph.add_node(route).add_node("codemode", codemode).add_node(answer)
    graph.add_edge(START, "route").add_conditional_edges("route", _where)
    graph.add_edge("codemode", "answer")
    return graph


def _where(state: State) -> Literal["codemode", "answer"]:
    return "codemode" if state["task"] else "answer"


def _found(state: State) -> str:
    if not state["task"]:
        return ""
    if (error := state.get("error")) is not None:
        return f"The tools were asked to do this: {state['task']}\nIt failed: {error['message']}\nSay so."
    output = json.dumps(state.get("output"), ensure_ascii=False)
    shown = output if len(output) <= 20_000 else sample(state.get("output"), limit=20_000)
    return f"The tools were asked to do this: {state['task']}\nThis came of it: {shown}"
