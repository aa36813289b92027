"""Pydantic AI's agent with pydantic-ai-harness' CodeMode: the model calls `run_code` with programs, and answers in words."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

from pydantic_ai import Agent, ModelRetry, capture_run_messages  # type: ignore[import-not-found]
from pydantic_ai.exceptions import UsageLimitExceeded  # type: ignore[import-not-found]
from pydantic_ai.messages import RetryPromptPart  # type: ignore[import-not-found]
from pydantic_ai.models.openai import OpenAIChatModel  # type: ignore[import-not-found]
from pydantic_ai.providers.openai import OpenAIProvider  # type: ignore[import-not-found]
from pydantic_ai.usage import UsageLimits  # type: ignore[import-not-found]
from pydantic_ai_harness import CodeMode  # type: ignore[import-not-found]

from benchmarks.arms.arm import FORM, Do, Reply, call, read_words
from benchmarks.small_tasks import TOOLSETS, Task

__all__ = ["open_arm"]

_REQUESTS = 12


def _tool(function: Any) -> Callable[..., Any]:
    @wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return await call(function, *args, **kwargs)
        except ValueError as error:
            raise ModelRetry(str(error)) from error

    run.__name__ = function.tool_name.replace("-", "_")
    return run


@asynccontextmanager
async def open_arm(base_url: str, model: str, _variant: str) -> AsyncIterator[Do]:
    """Open the agent anew for each set of tools.

    Args:
        base_url: That of the model's server.
        model: The model's name there.
        _variant: There is one alone.
    """
    chat = OpenAIChatModel(model, provider=OpenAIProvider(base_url=base_url, api_key="none"))

    async def do(task: Task) -> Reply:
        tools = [_tool(each) for each in TOOLSETS[task.toolset].functions]
        prompt = f"Do the user's task with the tools. {FORM}"
        agent = Agent(chat, tools=tools, instructions=prompt, capabilities=[CodeMode()], retries=3)
        with capture_run_messages() as messages:
            try:
                result = await agent.run(task.text, usage_limits=UsageLimits(request_limit=_REQUESTS))
                reply = read_words(str(result.output))
            except UsageLimitExceeded as error:
                reply = Reply(failed=str(error))
            except Exception as error:
                reply = Reply(failed=f"{type(error).__name__}: {error}"[:500])
        parts = [part for message in messages for part in message.parts]
        return Reply(
            value=reply.value,
            failed=reply.failed,
            errors=sum(isinstance(part, RetryPromptPart) for part in parts),
            transcript=[
                f"{type(part).__name__}: {getattr(part, 'args', None) or getattr(part, 'content', '')}"[:1500]
                for part in parts
            ],
        )

    yield do
