"""Tool calls in traces: each one a child tool run of whatever runs the program."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import (
    ensure_config,
    get_async_callback_manager_for_config,
    patch_config,
    set_config_context,
)
from langchain_core.runnables.utils import coro_with_context

from codemode_graph.tools.spec import ToolCaller

__all__ = ["traced"]


def traced(name: str, call: ToolCaller, *, description: str = "") -> ToolCaller:
    """Make every call of a tool a child tool run of the config that the call is given.

    LangChain tools report themselves; this is for tools that do not. Callbacks, LangSmith and LangGraph's `tools`
    stream see the arguments as they were given, and the value or the error, a cancellation included. Whatever `call`
    runs through LangChain or `langsmith.traceable` becomes a child of that run.

    Args:
        name: What traces call the tool.
        call: The tool itself.
        description: Handed to callbacks beside the name.

    Returns:
        A caller that gives and raises what `call` does.

    Example:
        >>> import asyncio
        >>> async def double(arguments, config):
        ...     return arguments["x"] * 2
        >>> asyncio.run(traced("double", double)({"x": 21}, {}))
        42
    """

    async def traced_call(arguments: dict[str, Any], config: RunnableConfig) -> Any:
        config = ensure_config(config)
        run = await get_async_callback_manager_for_config(config).on_tool_start(
            {"name": name, "description": description}, str(arguments), inputs=arguments
        )
        child = patch_config(config, callbacks=run.get_child())

        async def call_as_child() -> Any:
            return await call(arguments, child)

        try:
            with set_config_context(child) as context:
                value = await coro_with_context(call_as_child(), context)
        except BaseException as error:
            await run.on_tool_error(error)
            raise
        await run.on_tool_end(value, name=name)
        return value

    return traced_call
