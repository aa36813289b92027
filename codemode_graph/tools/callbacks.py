"""Tool calls in traces: each one a child tool run of whatever runs the program."""

from collections.abc import Collection
from contextlib import nullcontext
from traceback import format_exception
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import (
    ensure_config,
    get_async_callback_manager_for_config,
    patch_config,
    set_config_context,
)
from langchain_core.runnables.utils import coro_with_context
from langsmith import tracing_context

from codemode_graph.redact import mask, redact
from codemode_graph.tools.hints import to_plain
from codemode_graph.tools.spec import ToolCaller

__all__ = ["masked", "tagged", "traced"]


def traced(name: str, call: ToolCaller, *, description: str = "") -> ToolCaller:
    """Make every call of a tool a child tool run of the config that the call is given.

    LangChain tools report themselves; this is for tools that do not. Callbacks, LangSmith and LangGraph's `tools`
    stream see the arguments as they were given, and the value or the error, a cancellation included; an error that
    tells a credential is told without it. Whatever `call` runs through LangChain or `langsmith.traceable` becomes a
    child of that run.

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
    return _as_run(name, description, call, frozenset())


def masked(name: str, call: ToolCaller, names: Collection[str], *, description: str = "") -> ToolCaller:
    """Like `traced`, of a tool that has something to hide, whether it reports itself or not.

    Callbacks and traces see its arguments and its value with `[redacted]` under these names, its errors without what the
    arguments hide, and nothing of what goes on inside the call.

    Args:
        name: What traces call the tool.
        call: The tool itself.
        names: Keys whose values are masked, at any depth.
        description: Handed to callbacks beside the name.
    """
    return _as_run(name, description, call, frozenset(names))


def tagged(config: RunnableConfig, *tags: str, **metadata: Any) -> RunnableConfig:
    """A config whose runs carry these tags, and these metadata under names that begin with `codemode_`."""
    # LangChain's merge_configs would take in the callbacks of the node as well, and trace the run twice.
    named = {f"codemode_{key}": value for key, value in metadata.items()}
    return {
        **config,
        "tags": list(dict.fromkeys((*(config.get("tags") or ()), "codemode", *tags))),
        "metadata": {**(config.get("metadata") or {}), **named},
    }


def _as_run(name: str, description: str, call: ToolCaller, names: frozenset[str]) -> ToolCaller:
    async def call_as_run(arguments: dict[str, Any], config: RunnableConfig) -> Any:
        config = ensure_config(config)
        seen = _masked(arguments, names) if names else arguments
        run = await get_async_callback_manager_for_config(config).on_tool_start(
            {"name": name, "description": description}, str(seen), inputs=seen
        )
        # What a tool passes on may be just what is to be hidden.
        inside: RunnableConfig = (
            {**config, "callbacks": []} if names else patch_config(config, callbacks=run.get_child())
        )

        async def call_inside() -> Any:
            with tracing_context(enabled=False) if names else nullcontext():
                return await call(arguments, inside)

        try:
            with set_config_context(inside) as context:
                value = await coro_with_context(call_inside(), context)
        except BaseException as error:
            await run.on_tool_error(_tellable(error, _leaves(arguments, names)))
            raise
        await run.on_tool_end(_masked(value, names) if names else value, name=name)
        return value

    return call_as_run


def _masked(value: Any, names: Collection[str]) -> Any:
    plain = to_plain(value)
    # What is no data cannot be looked into.
    return mask(plain, names) if isinstance(plain, dict | list | str | int | float | None) else "[redacted]"


class _Told(Exception):
    """Stands for an exception in traces."""

    def __init__(self, type: str, message: str) -> None:
        super().__init__(message)
        self.type = type

    def __repr__(self) -> str:
        return f"{self.type}({self.args[0]!r})"


def _tellable(error: BaseException, hidden: Collection[str]) -> BaseException:
    """The error itself, or, where it or what led to it tells what traces must not have, its message without that."""
    whole = "".join(format_exception(error))
    if redact(whole, limit=len(whole)) == whole and not any(secret in whole for secret in hidden):
        return error
    message = str(error)
    for secret in hidden:
        message = message.replace(secret, "[redacted]")
    return _Told(type(error).__name__, redact(message))


def _leaves(value: Any, names: Collection[str], *, inside: bool = False) -> set[str]:
    """The texts and numbers that are masked, as far as they are long enough to be told from others."""
    if isinstance(value, dict):
        return {leaf for key, item in value.items() for leaf in _leaves(item, names, inside=inside or key in names)}
    if isinstance(value, list):
        return {leaf for item in value for leaf in _leaves(item, names, inside=inside)}
    text = str(value)
    return {text} if inside and len(text) >= 4 else set()
