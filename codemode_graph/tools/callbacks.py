"""Tool calls in traces: each one is a child tool run of the run of the program."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from traceback import format_exception
from typing import Any

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import (
    ensure_config,
    get_async_callback_manager_for_config,
    patch_config,
    set_config_context,
    var_child_runnable_config,
)
from langchain_core.runnables.utils import coro_with_context
from langsmith import tracing_context

from codemode_graph.exact import encode
from codemode_graph.redact import mask, redact
from codemode_graph.tools.artifacts import with_artifacts
from codemode_graph.tools.hints import to_plain
from codemode_graph.tools.spec import ToolCaller

# What traces show in place of the arguments of the next call: the data of an artifact may be megabytes.
_ARGUMENTS: ContextVar[Mapping[str, Any] | None] = ContextVar("codemode_arguments", default=None)


def traced(name: str, call: ToolCaller, *, description: str = "") -> ToolCaller:
    """Wrap a tool so that each call is a child tool run of the call's config.

    LangChain tools report themselves; this is for tools that do not. Callbacks, LangSmith and LangGraph's `tools`
    stream see the arguments as the call has them, and the value or the error, a cancellation included; a credential in
    an error is masked. Whatever `call` runs through LangChain or `langsmith.traceable` becomes a child of that run.

    Args:
        name: What traces call the tool.
        call: The tool itself.
        description: For callbacks, beside the name.

    Returns:
        A caller that returns and raises what `call` does.

    Examples:
        >>> import asyncio
        >>> async def double(arguments, config):
        ...     return arguments["x"] * 2
        >>> asyncio.run(traced("double", double)({"x": 21}, {}))
        42
    """
    return _as_run(name, description, call, frozenset())


@contextmanager
def without_data(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Have the trace of the call in the block show these arguments: handles, where the tool gets the data of artifacts."""
    token = _ARGUMENTS.set(arguments)
    try:
        yield
    finally:
        _ARGUMENTS.reset(token)


def masked(name: str, call: ToolCaller, names: Collection[str], *, description: str = "") -> ToolCaller:
    """Wrap a tool as `traced` does, and mask values in its trace, whether it reports itself or not.

    Callbacks and traces see its arguments and its value with `[redacted]` under these names, its errors without these
    values, and nothing inside the call.

    Args:
        name: What traces call the tool.
        call: The tool itself.
        names: Keys whose values are masked, at any depth.
        description: For callbacks, beside the name.
    """
    return _as_run(name, description, call, frozenset(names), is_whole=True)


def tagged(config: RunnableConfig, *tags: str, **metadata: Any) -> RunnableConfig:
    """Return a config whose runs carry these tags, and these metadata under names that begin with `codemode_`."""
    # LangChain's merge_configs would take in the callbacks of the node as well, and trace the run twice.
    named = {f"codemode_{key}": value for key, value in metadata.items()}
    return {
        **config,
        "tags": list(dict.fromkeys((*(config.get("tags") or ()), "codemode", *tags))),
        "metadata": {**(config.get("metadata") or {}), **named},
    }


def is_heard(config: RunnableConfig) -> bool:
    """Tell whether anybody may listen to the runs below a config.

    The config of a node has the callback manager of its graph, where LangChain has put in all that listens: the callbacks
    of the call, those of the environment and LangSmith's. Another config is for LangChain to read.
    """
    callbacks = config.get("callbacks")
    return not isinstance(callbacks, BaseCallbackManager) or bool(callbacks.handlers)


def _as_run(
    name: str, description: str, call: ToolCaller, names: frozenset[str], *, is_whole: bool = False
) -> ToolCaller:
    async def call_as_run(arguments: dict[str, Any], config: RunnableConfig) -> Any:
        if not is_whole and not is_heard(config):
            # Without anybody to trace for, the config is all that LangChain looks for in the context, and a task of its
            # own, as `coro_with_context` makes one, would cost two turns of the loop.
            token = var_child_runnable_config.set(config)
            try:
                return await call(arguments, config)
            finally:
                var_child_runnable_config.reset(token)
        config = ensure_config(config)
        plain = _ARGUMENTS.get()
        _ARGUMENTS.set(None)  # in the task of this call: what the tool calls has arguments of its own
        plain = arguments if plain is None else plain
        shown = _mask(plain, names) if names else _shown(plain)
        run = await get_async_callback_manager_for_config(config).on_tool_start(
            {"name": name, "description": description}, str(shown), inputs=shown
        )
        # What the tool runs inside may report the very values to be masked, so nothing inside is traced.
        inside: RunnableConfig = (
            {**config, "callbacks": []} if is_whole else patch_config(config, callbacks=run.get_child())
        )

        async def call_inside() -> Any:
            with tracing_context(enabled=False) if is_whole else nullcontext():
                return await call(arguments, inside)

        try:
            with set_config_context(inside) as context:
                value = await coro_with_context(call_inside(), context)
        except BaseException as error:
            await run.on_tool_error(_without_secrets(error, secrets_in(arguments, names)))
            raise
        await run.on_tool_end(_mask(value, names) if names else _shown(value), name=name)
        return value

    return call_as_run


def _shown(value: Any) -> Any:
    """Return a value as traces keep it: in the exact form, as they write JSON, and without the data of artifacts."""
    return encode(with_artifacts(value))


def _mask(value: Any, names: Collection[str]) -> Any:
    plain = to_plain(value)
    # An object that is no data may hide the value anywhere.
    return mask(plain, names) if isinstance(plain, dict | list | str | int | float | None) else "[redacted]"


class _Redacted(Exception):
    """Stands for an exception in traces, under the exception's own type."""

    def __init__(self, type: str, message: str) -> None:
        super().__init__(message)
        self.type = type

    def __repr__(self) -> str:
        return f"{self.type}({self.args[0]!r})"


def _without_secrets(error: BaseException, secrets: Collection[str]) -> BaseException:
    """Return the error itself, or, where it or a cause of it holds a secret, a stand-in with its message masked."""
    # Tracers format the traceback with its causes, so all of that has to be free of secrets.
    whole = "".join(format_exception(error))
    if redact(whole, limit=len(whole)) == whole and not any(secret in whole for secret in secrets):
        return error
    message = str(error)
    for secret in secrets:
        message = message.replace(secret, "[redacted]")
    return _Redacted(type(error).__name__, redact(message))


def secrets_in(value: Any, names: Collection[str], *, inside: bool = False) -> set[str]:
    """Return the texts and numbers under these names. Those of under four characters occur by chance, and are left out."""
    if isinstance(value, dict):
        return {leaf for key, item in value.items() for leaf in secrets_in(item, names, inside=inside or key in names)}
    if isinstance(value, list):
        return {leaf for item in value for leaf in secrets_in(item, names, inside=inside)}
    text = str(value)
    return {text} if inside and len(text) >= 4 else set()
