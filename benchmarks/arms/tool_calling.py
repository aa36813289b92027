"""Classical tool calling: LangChain's `create_agent`, one model call for each step, and calls together where it wants."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langchain_openai import ChatOpenAI
from langgraph.errors import GraphRecursionError
from pydantic import SecretStr

from benchmarks.arms.arm import FORM, Do, Reply, call, read_words, tool_text
from benchmarks.small_tasks import TOOLSETS, Task

__all__ = ["open_arm"]

_STEPS = 40  # of the graph: half of them ask the model


def _tool(function: Any) -> BaseTool:
    @wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return await call(function, *args, **kwargs)
        except Exception as error:
            raise ToolException(f"{type(error).__name__}: {error}") from error

    return StructuredTool.from_function(
        coroutine=run, name=function.tool_name, description=tool_text(function), handle_tool_error=True
    )


def _line(message: Any) -> str:
    calls: Callable[[], list[str]] = lambda: [f"{each['name']}({each['args']})" for each in message.tool_calls]  # noqa: E731
    if isinstance(message, AIMessage):
        return "\n".join(["# model", *calls(), str(message.text)]).strip()
    return f"# {message.type}\n{str(message.text)[:600]}"


@asynccontextmanager
async def open_arm(base_url: str, model: str, _variant: str) -> AsyncIterator[Do]:
    """Open the agent anew for each task: it has no memory.

    Args:
        base_url: That of the model's server.
        model: The model's name there.
        _variant: There is one alone.
    """
    chat = ChatOpenAI(model=model, base_url=base_url, api_key=SecretStr("none"), timeout=600, max_retries=0)
    prompt = f"Do the user's task with the tools. Call a tool for whatever the task does not say. {FORM}"

    async def do(task: Task) -> Reply:
        tools = [_tool(each) for each in TOOLSETS[task.toolset].functions]
        agent = create_agent(chat, tools=tools, system_prompt=prompt)
        messages: list[Any] = []
        try:
            async for state in agent.astream(
                {"messages": [HumanMessage(task.text)]}, {"recursion_limit": _STEPS}, stream_mode="values"
            ):
                messages = state["messages"]
        except GraphRecursionError:
            return Reply(failed=f"no answer in {_STEPS} steps", transcript=list(map(_line, messages)))
        errors = sum(isinstance(each, ToolMessage) and each.status == "error" for each in messages)
        reply = read_words(str(messages[-1].text))
        return Reply(value=reply.value, failed=reply.failed, errors=errors, transcript=list(map(_line, messages[1:])))

    yield do
