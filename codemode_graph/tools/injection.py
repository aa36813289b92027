"""Arguments of LangChain tools that no model fills in: which they are, and where their values come from."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias, get_args, get_origin

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import InjectedToolArg, InjectedToolCallId

from codemode_graph.errors import ToolCallError
from codemode_graph.tools.spec import InjectedIdempotencyKey

if TYPE_CHECKING:
    from langgraph.prebuilt import ToolRuntime
    from langgraph.prebuilt.tool_node import ToolCallRequest

Kind: TypeAlias = Literal["state", "store", "runtime", "call_id", "idempotency_key", "other"]


class Injection(NamedTuple):
    """The source of an injected argument.

    Attributes:
        kind: The graph's state (or one field of it), its store, a `ToolRuntime`, the call's id, its idempotency key, or
            something else that only the tool's author knows.
        field: The field of the state; None for all of it.
    """

    kind: Kind
    field: str | None = None


def injection_in(hint: Any) -> Injection | None:
    """Return the source that an argument's type hint names, or None where it is an ordinary argument."""
    origin = get_origin(hint)
    marks = get_args(hint)[1:] if origin is Annotated else ()
    # A hint that names one of LangGraph's classes has imported them; for others the slow import is spared.
    if "langgraph.prebuilt" in sys.modules and (found := _injection_of_langgraph(hint, marks)) is not None:
        return found
    for mark in marks:
        kind = mark if isinstance(mark, type) else type(mark)
        if issubclass(kind, InjectedToolCallId):
            return Injection("call_id")
        if issubclass(kind, InjectedIdempotencyKey):
            return Injection("idempotency_key")
        if issubclass(kind, InjectedToolArg):
            return Injection("other")
    # As LangGraph does, look into unions and optional hints.
    inner = get_args(hint)[:1] if origin is Annotated else get_args(hint)
    return next((found for part in inner if (found := injection_in(part))), None)


def _injection_of_langgraph(hint: Any, marks: tuple[Any, ...]) -> Injection | None:
    from langgraph.prebuilt import InjectedState, InjectedStore, ToolRuntime

    if any(isinstance(each, type) and issubclass(each, ToolRuntime) for each in (hint, get_origin(hint))):
        return Injection("runtime")
    for mark in marks:
        kind = mark if isinstance(mark, type) else type(mark)
        if issubclass(kind, InjectedState):
            return Injection("state", getattr(mark, "field", None))
        if issubclass(kind, InjectedStore):
            return Injection("store")
    return None


def is_config(hint: Any) -> bool:
    """Return whether an argument's type hint is `RunnableConfig`, or that or None."""
    return hint is RunnableConfig or (RunnableConfig in get_args(hint))


async def runtime_for(call: ToolCall, config: RunnableConfig) -> "ToolRuntime[Any, Any]":
    """Return the `ToolRuntime` that LangGraph's `ToolNode` would inject into a tool.

    Args:
        call: The tool call.
        config: The config of the graph's node that makes the call.

    Returns:
        The runtime: the state, the store and the context of the running graph; outside of one, none of these.
    """
    from langgraph.prebuilt import ToolNode, ToolRuntime

    runtimes: list[ToolRuntime[Any, Any]] = []

    async def take(request: "ToolCallRequest", _execute: object) -> ToolMessage:
        runtimes.append(request.runtime)
        return ToolMessage("", tool_call_id=call["id"])

    # Only a ToolNode makes a runtime, and it hands it to a wrapper before it looks for the tool.
    node = ToolNode([], awrap_tool_call=take, handle_tool_errors=False)
    try:
        await node.ainvoke([call], config)
    except ValueError:  # No graph is running.
        return ToolRuntime(
            state={}, context=None, config=config, stream_writer=_ignore, tool_call_id=call["id"], store=None
        )
    return runtimes[0]


def injected_values(
    tool: str, injections: Mapping[str, Injection], optional: frozenset[str], runtime: "ToolRuntime[Any, Any]"
) -> dict[str, Any]:
    """Return the values of a tool's injected arguments.

    Args:
        tool: The tool's name, for messages.
        injections: The source of each argument. The call's id comes from LangChain, and its idempotency key from the call:
            these are not among the values.
        optional: Arguments that can be left out.
        runtime: The runtime that holds them.

    Raises:
        ToolCallError: The graph has no such thing.
    """
    values: dict[str, Any] = {}
    for name, each in injections.items():
        if each.kind == "runtime":
            values[name] = runtime
        elif each.kind == "store" and runtime.store is not None:
            values[name] = runtime.store
        elif each.kind == "state" and (found := _read_state(runtime.state, each.field)) is not _MISSING:
            values[name] = found
        elif each.kind in ("state", "store") and name not in optional:
            what = f"{each.field!r} in the state" if each.field else f"a {each.kind}"
            raise ToolCallError(f"{tool} needs {what} of the running graph, and there is none")
    return values


_MISSING = object()


def _read_state(state: Any, field: str | None) -> Any:
    if field is None:
        return state or _MISSING
    return state.get(field, _MISSING) if isinstance(state, Mapping) else getattr(state, field, _MISSING)


def _ignore(_chunk: object) -> None:
    pass
