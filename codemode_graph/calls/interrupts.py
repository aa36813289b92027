"""Tools that ask a person themselves, by LangGraph's `interrupt()`.

LangGraph starts a node again from its beginning when it is answered, and `interrupt()` gives the answers in order. The
same holds here for a tool: its call waits, and when it has been answered that one tool is started again, as the only node
of a graph of its own that has been given the answers.
"""

from traceback import walk_tb
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import RESUME
from langgraph.errors import GraphInterrupt, is_invalid_resume
from langgraph.graph import START, StateGraph
from langgraph.runtime import get_runtime
from langgraph.types import Interrupt

from codemode_graph.errors import ToolOutcomeUnknown
from codemode_graph.state import CodeModeState
from codemode_graph.tools.spec import ToolCaller

__all__ = ["InvalidAnswer", "ToolAsks", "call_tool"]

_NESTED = (
    "the tool runs a graph that stops to ask somebody, and a program cannot wait for that: let the tool's policy ask for "
    "approval, or call interrupt() in the tool itself"
)


class ToolAsks(Exception):
    """A tool asks something.

    Args:
        interrupt: What, as the tool called `interrupt()`.
    """

    def __init__(self, interrupt: Interrupt) -> None:
        super().__init__(interrupt)
        self.interrupt = interrupt


class InvalidAnswer(Exception):
    """The last answer does not match the `response_schema` that the tool gave: it has to be asked for again."""


async def call_tool(
    call: ToolCaller, arguments: dict[str, Any], config: RunnableConfig, *, state: CodeModeState, answers: list[Any]
) -> Any:
    """Call a tool that may ask.

    Args:
        call: The tool.
        arguments: Its arguments.
        config: Of the node that makes the call.
        state: Of the graph that makes the call.
        answers: To what the tool has asked before, in order.

    Returns:
        What the tool gave.

    Raises:
        ToolAsks: It asks something, or the next thing.
        InvalidAnswer: It cannot take the last answer.
        ToolOutcomeUnknown: A graph within the tool asks.
        Exception: Whatever the tool raises.
    """
    try:
        if answers:
            return await _call_with_answers(call, arguments, config, state, answers)
        return await _call(call, arguments, config)
    except Exception as error:
        if answers and is_invalid_resume(error):
            raise InvalidAnswer from error
        raise


async def _call(call: ToolCaller, arguments: dict[str, Any], config: RunnableConfig) -> Any:
    try:
        return await call(arguments, config)
    except GraphInterrupt as stop:
        if any(
            frame.f_globals.get("__name__", "").startswith("langgraph.pregel")
            for frame, _ in walk_tb(stop.__traceback__)
        ):
            raise ToolOutcomeUnknown(_NESTED) from stop
        (interrupt,) = stop.args[0]
        raise ToolAsks(interrupt) from None


async def _call_with_answers(
    call: ToolCaller, arguments: dict[str, Any], config: RunnableConfig, state: CodeModeState, answers: list[Any]
) -> Any:
    given: list[Any] = []

    async def tool(state: CodeModeState, config: RunnableConfig) -> None:
        inside = outside.copy()
        inside["configurable"] = config["configurable"]
        given.append(await _call(call, arguments, inside))

    outside, runtime, saver = config, get_runtime(), InMemorySaver()
    graph = StateGraph(CodeModeState, type(runtime.context)).add_node(tool).add_edge(START, "tool")
    app = graph.compile(checkpointer=saver, store=runtime.store, interrupt_before=["tool"])
    public = {k: v for k, v in config["configurable"].items() if not k.startswith(("__", "checkpoint_"))}
    thread: RunnableConfig = {"configurable": {"thread_id": "", **public}}
    await app.ainvoke(state, thread, context=runtime.context)
    # The tool waits to be started, and finds that its first interrupts have been answered already.
    waiting = await app.aget_state(thread)
    await saver.aput_writes(waiting.config, [(RESUME, list(answers))], waiting.tasks[0].id)
    async for event in app.astream(None, thread, context=runtime.context, stream_mode="custom"):
        runtime.stream_writer(event)
    return given[0]
