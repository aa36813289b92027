"""Code mode as one LangChain tool: an agent gives it a task, and gets the value of a program that does the task."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.errors import GraphInterrupt
from langgraph.prebuilt import ToolRuntime
from langgraph.runtime import get_runtime
from pydantic import BaseModel, Field

from codemode_graph.compat import with_subgraph_number
from codemode_graph.errors import ConfigurationError
from codemode_graph.integrations.answer import LIMIT, answer_content, answer_text, artifact_of, result_of
from codemode_graph.result import ProgramRunner, RunResult, TaskRunner
from codemode_graph.sync import wait_for
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.tools.text import listed, one_line

ADVICE = "Do not give the same task again: give one for what is left to do, or say what went wrong."


# The default of an injected argument: LangChain injects only where the hint is `ToolRuntime` itself, without `| None`.
_NONE: Any = None


class Task(BaseModel):
    """The tool's arguments."""

    task: str = Field(
        min_length=1,
        description="What is to be done, whole, in plain words: with every name, id, date and amount that it needs, and "
        "with the form of the answer.",
    )


def task_schema() -> dict[str, Any]:
    """Return the JSON Schema of `Task`, which allows no other arguments."""
    return {**Task.model_json_schema(), "additionalProperties": False}


def task_description(tools: Iterable[ToolSpec]) -> str:
    """Return the description of a tool that does tasks with those of these tools that programs may call."""
    names = [one_line(spec.name, 60) for spec in tools if spec.for_programs]
    shown = listed(names, most=40)
    return (
        "Do a task that takes several tool calls: a program is written for it that makes the calls, in loops and at the "
        "same time where that helps, and works on what they give. The program's value comes back, as JSON. The task is "
        "all that is known to it: nothing of this conversation is. Good for many items, for chains where one call needs "
        "what another gave, and for results too big to read. Where you have a tool for a thing yourself and one call of "
        f"it does, or you have to judge each result, call that directly. It can use: {shown or 'no tools'}."
    )


def as_langchain_tool(
    cm: TaskRunner, *, name: str = "codemode", description: str | None = None, max_chars: int = LIMIT
) -> BaseTool:
    """Make a LangChain tool of code mode, for any agent.

    Within a graph each call is a subgraph of the node that makes it: it uses the graph's checkpointer and store, and its
    events are on the graph's `custom` stream where that is asked for with `subgraphs=True`. Calls that need a person, and
    tools that ask, interrupt the graph, which goes on with `Command(resume=...)` where it stopped, nothing done twice.
    An `approve` of `codemode` answers instead. Callbacks and traces show everything below the tool's run.

    Args:
        cm: Does the tasks.
        name: The tool's name.
        description: For the agent's model; the default says what it is good for, and when a direct call is better.
        max_chars: The most characters of the value; of a longer one the model reads the shape and a part.

    Returns:
        The tool. It takes `task`, and returns the value as text, with the whole result as the message's `artifact`. A
        run that failed is a message of status "error" that says why and what took effect; called without a `ToolNode` it
        raises `ToolException`.
    """

    return _runner(
        cm, name, description or task_description(cm.tools), Task, lambda arguments: arguments, max_chars=max_chars
    )


def as_langchain_tools(cm: ProgramRunner, *, max_chars: int = LIMIT) -> list[BaseTool]:
    """Make a LangChain tool of each saved program. A call runs it, as `as_langchain_tool` does a task.

    Args:
        cm: Has the programs, and runs them.
        max_chars: As for `as_langchain_tool`.
    """
    specs = [spec for spec in cm.tools if spec.program]
    return [_of_program(cm, spec, max_chars) for spec in specs]


def _of_program(cm: ProgramRunner, spec: ToolSpec, max_chars: int) -> BaseTool:
    def request(arguments: dict[str, Any]) -> dict[str, Any]:
        return {"task": "", "code": cm.programs.call(spec.name, arguments)}

    return _runner(cm, spec.name, spec.description, dict(spec.input_schema), request, max_chars=max_chars)


def _runner(
    cm: Any,
    name: str,
    description: str,
    schema: Any,
    request: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    max_chars: int,
) -> BaseTool:
    """Return a tool whose call is a run.

    Args:
        cm: Runs it.
        name: The tool's name.
        description: For the agent's model.
        schema: Of its arguments.
        request: Returns the graph's input for arguments.
        max_chars: The most characters of the value.
    """

    async def run(input: dict[str, Any]) -> RunResult[Any]:
        result: RunResult[Any] = await (cm.run_code(input["code"]) if "code" in input else cm.run(input["task"]))
        return result

    def graph(input: dict[str, Any]) -> Any:
        return cm.program_subgraph if "code" in input else cm.subgraph

    async def do_async(config: RunnableConfig, runtime: ToolRuntime[Any, Any] = _NONE, **arguments: Any) -> Any:
        try:
            input = request(arguments)
        except ConfigurationError as problem:
            return refuse(str(problem), runtime)
        if not _in_graph():
            result: dict[str, Any] = dict(await run(input))
        else:
            async with _hold_interrupt():
                result = result_of(await graph(input).ainvoke(input, _config_of_call(config, runtime)))
        return answer(result, runtime)

    def do(config: RunnableConfig, runtime: ToolRuntime[Any, Any] = _NONE, **arguments: Any) -> Any:
        try:
            input = request(arguments)
        except ConfigurationError as problem:
            return refuse(str(problem), runtime)
        if not _in_graph():
            result: dict[str, Any] = dict(wait_for(run(input)))
        else:
            result = result_of(graph(input).invoke(input, _config_of_call(config, runtime)))
        return answer(result, runtime)

    def answer(result: dict[str, Any], runtime: ToolRuntime[Any, Any] | None) -> Any:
        text = answer_text(result, limit=max_chars, advice=ADVICE)
        if result["success"]:
            return answer_content(result, text), artifact_of(result)
        return refuse(text, runtime, artifact_of(result))

    def refuse(text: str, runtime: ToolRuntime[Any, Any] | None, artifact: Any = None) -> Any:
        if runtime is None or runtime.tool_call_id is None:
            raise ToolException(text)
        message = ToolMessage(text, name=name, tool_call_id=runtime.tool_call_id, status="error", artifact=artifact)
        return message, message.artifact

    return StructuredTool(
        name=name,
        description=description,
        args_schema=schema,
        func=do,
        coroutine=do_async,
        response_format="content_and_artifact",
    )


def _config_of_call(config: RunnableConfig, runtime: ToolRuntime[Any, Any] | None) -> RunnableConfig:
    """Return the config under which a call's subgraph has the same checkpoints whenever its node runs.

    It has no callbacks: LangGraph adds those of the context, and would have every tracer twice.
    """
    config = {**config, "callbacks": None}
    if runtime is None or runtime.tool_call_id is None:
        return config
    # The id of the call, since the order in which calls of one node start differs from run to run.
    return with_subgraph_number(config, 1 + int.from_bytes(hashlib.sha256(runtime.tool_call_id.encode()).digest()[:6]))


def _in_graph() -> bool:
    try:
        return get_runtime() is not None
    except (RuntimeError, KeyError):
        return False


@dataclass(slots=True)
class _RunningNode:
    """A node that is running, and how many of its calls have not ended. It holds the runtime, whose id is its key."""

    runtime: Any
    running: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)


_nodes: dict[int, _RunningNode] = {}


@asynccontextmanager
async def _hold_interrupt() -> AsyncIterator[None]:
    """Run a call of a node; where it interrupts the graph, wait first until the node's other calls have ended.

    A `ToolNode` runs the calls of one message at the same time. An interrupt of one ends the node while the others still
    run, and LangGraph would start those again beside themselves.
    """
    runtime = get_runtime()
    node = _nodes.setdefault(id(runtime), _RunningNode(runtime))
    node.running += 1
    interrupts = False
    try:
        yield
    except GraphInterrupt:
        interrupts = True
        raise
    finally:
        node.running -= 1
        if node.running == 0:
            _nodes.pop(id(runtime), None)
            node.idle.set()
        elif interrupts:
            await node.idle.wait()
