"""Calls that a program makes of an agent's tools: made as the agent makes its own.

A call goes through the tool-call middleware that follows code mode in the agent's list, then to the agent's `ToolNode`,
which injects the agent's state, store and runtime. The tool itself runs under the config of the program, so traces show
it there, and `interrupt()` in it is a question of the program's run.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, Tool
from langgraph.prebuilt.tool_node import msg_content_output
from langgraph.types import Command
from pydantic import Field

from codemode_graph.sync import wait_for
from codemode_graph.tools.from_function import marks_of
from codemode_graph.tools.from_langchain import Run, from_langchain
from codemode_graph.tools.spec import ToolSpec

__all__ = ["AgentCall", "current", "running", "spec_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCall:
    """The tool call by which an agent runs a program.

    Attributes:
        request: As the middleware got it.
        handler: The rest of the agent's way to a tool; a coroutine function where the agent runs asynchronously.
        is_async: Which it is.
    """

    request: ToolCallRequest
    handler: Callable[[ToolCallRequest], Any]
    is_async: bool

    async def make(self, tool: BaseTool, call: ToolCall, config: RunnableConfig, run: Run) -> Any:
        """Make a program's call of a tool the agent's way, and give what came of it."""
        nested = _Nested(
            name=tool.name,
            description=tool.description,
            args_schema=tool.args_schema,
            metadata=tool.metadata,
            tags=tool.tags,
            under=config,
            run_tool=run,
        )
        runtime = replace(self.request.runtime, config=config, tool_call_id=call["id"])
        request = replace(self.request, tool_call=call, tool=nested, runtime=runtime)
        answer = await (self.handler(request) if self.is_async else asyncio.to_thread(self.handler, request))
        # The message is for middleware: where none has changed it, the value itself is better than its text.
        return next((value for message, value in nested.given if message is answer), answer)


running: ContextVar[AgentCall] = ContextVar("codemode_agent_call")
"""The call that the program runs for. Set by the middleware before it runs one."""


def current() -> AgentCall:
    """The call that the program runs for."""
    return running.get()


def spec_of(tool: BaseTool, spec: ToolSpec | None = None) -> ToolSpec:
    """Make a program's tool of an agent's tool.

    Args:
        tool: The agent's.
        spec: What is known of it beyond what a LangChain tool says: its schemas, effect and policy are taken from here.
    """

    async def invoke(call: ToolCall, config: RunnableConfig, run: Run) -> Any:
        return await current().make(tool, call, config, run)

    found = from_langchain(tool, invoke=invoke)
    if spec is not None:
        return replace(spec, call=found.call, input_schema=found.input_schema, name=tool.name)
    functions = [tool.func, tool.coroutine] if isinstance(tool, StructuredTool | Tool) else []
    effects = [effect for each in functions if (effect := marks_of(each).effect)]
    return replace(found, effect=effects[0]) if effects else found


class _Nested(BaseTool):
    """Stands for a tool in the agent's `ToolNode`, and has it run under the program's config."""

    under: Any = Field(exclude=True)
    run_tool: Any = Field(exclude=True)
    given: list[tuple[Any, Any]] = Field(default_factory=list, exclude=True)
    """Each message that was made, and the value that it was made of."""

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        answer = await self.run_tool(input, self.under)
        if isinstance(answer, ToolMessage | Command) or _are_messages(answer):
            return answer
        content: Any = msg_content_output(answer)
        message = ToolMessage(content, name=self.name, tool_call_id=input["id"])
        self.given.append((message, answer))
        return message

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return wait_for(self.ainvoke(input, config))


def _are_messages(answer: Any) -> bool:
    return (
        isinstance(answer, list) and len(answer) > 0 and all(isinstance(each, ToolMessage | Command) for each in answer)
    )
