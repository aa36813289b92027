"""pydantic-ai-harness: its CodeMode by itself, and in an agent with a scripted model. The sandbox is Monty, in workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic_ai import Agent, RunContext  # type: ignore[import-not-found]
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart  # type: ignore[import-not-found]
from pydantic_ai.models.function import AgentInfo, FunctionModel  # type: ignore[import-not-found]
from pydantic_ai.models.test import TestModel  # type: ignore[import-not-found]
from pydantic_ai.tool_manager import ToolManager  # type: ignore[import-not-found]
from pydantic_ai.toolsets import FunctionToolset  # type: ignore[import-not-found]
from pydantic_ai.usage import RunUsage  # type: ignore[import-not-found]
from pydantic_ai_harness import CodeMode  # type: ignore[import-not-found]
from pydantic_ai_harness.code_mode import CodeModeToolset  # type: ignore[import-not-found]

from benchmarks.peers.tools import EXPECTED, FUNCTION_PROGRAMS, TOOLS
from benchmarks.peers.worker import Run, Ways

__all__ = ["open_ways"]

_MOST_CALLS = 1_000  # its default is 100


def _program(program: str) -> Run:
    toolset = CodeModeToolset(wrapped=FunctionToolset(list(TOOLS)), max_tool_calls=_MOST_CALLS)

    async def run(comment: str) -> Any:
        # As an agent does at each of its runs, but for the agent.
        context = RunContext(deps=None, model=TestModel(), usage=RunUsage())
        own = await toolset.for_run(context)
        async with own:
            manager = await ToolManager(own).for_run_step(context)
            call = ToolCallPart("run_code", {"code": program + comment}, tool_call_id="1")
            context.tool_manager = manager
            result = await manager.execute_tool_call(await manager.validate_tool_call(call))
        return getattr(result, "return_value", result)

    return run


def _agent(program: str) -> Run:
    def answer(messages: list[Any], info: AgentInfo) -> ModelResponse:
        last = messages[-1].parts[-1]
        if isinstance(last, ToolReturnPart):
            return ModelResponse(parts=[TextPart("Done.")])
        comment = str(last.content).rpartition("\n")[2]
        return ModelResponse(parts=[ToolCallPart("run_code", {"code": f"{program}{comment}\n"})])

    capability = CodeMode(max_tool_calls=_MOST_CALLS)
    agent = Agent(FunctionModel(answer), tools=list(TOOLS), capabilities=[capability])

    async def run(comment: str) -> Any:
        done = await agent.run(f"Do it.\n{comment.strip()}")
        returned = next(
            part for message in done.all_messages() for part in message.parts if part.part_kind == "tool-return"
        )
        return getattr(returned.content, "return_value", returned.content)

    return run


@asynccontextmanager
async def open_ways() -> AsyncIterator[Ways]:
    """Yield the ways."""
    yield {
        "pydantic-ai-harness": dict(zip(EXPECTED, map(_program, FUNCTION_PROGRAMS), strict=True)),
        "pydantic-ai-harness agent": dict(zip(EXPECTED, map(_agent, FUNCTION_PROGRAMS), strict=True)),
    }
