"""Names of other libraries that are not public, each with the reason it is needed.

`tests/test_compat.py` has a test for each function here. It fails once the library changes the name, or offers a
public one, and the function can go.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:  # The command line needs one of these names before it loads any library.
    import sqlite3
    from collections.abc import Callable, Iterable

    from aiosqlite import Connection
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import BaseTool
    from langgraph.checkpoint.base import Checkpoint
    from langgraph.graph._branch import BranchSpec
    from mcp import ClientSession
    from mcp.types import RequestId

__all__ = [
    "ERROR",
    "Attempt",
    "attempts_of",
    "channels_of",
    "chat_providers",
    "checkpointer_of",
    "functions_of",
    "has_steps_left",
    "is_saved_at_exit",
    "module_of_thread",
    "next_request_id",
    "number_of_attempt",
    "run_on_aiosqlite",
    "state_of",
    "with_narrow_read",
    "with_state_of",
    "with_subgraph_number",
]

T = TypeVar("T")

# LangGraph keeps these in a node's config. Its own `ToolNode` reads the first; nothing public stands for either.
_READ = "__pregel_read"
_SEND = "__pregel_send"
_CHECKPOINTER = "__pregel_checkpointer"
_DURABILITY = "__pregel_durability"
_SCRATCHPAD = "__pregel_scratchpad"
_CALL = "__pregel_call"
_RUNTIME = "__pregel_runtime"
# The channels by which a step of a graph starts the nodes of the next one.
_SENDS = "__pregel_tasks"
_BRANCH = "branch:to:"
# The channel of an edge from several nodes: "join:first+second:next".
_JOIN = "join:"
# Among the pending writes of a checkpoint, that of a node which has failed.
ERROR = "__error__"


def is_saved_at_exit(config: RunnableConfig) -> bool:
    """Tell whether a graph writes a checkpoint at its end alone, from the config of one of its nodes.

    A node cannot ask under which durability its graph runs.
    """
    return (config.get("configurable") or {}).get(_DURABILITY) == "exit"


def has_steps_left(checkpoint: Checkpoint) -> bool:
    """Tell whether a graph goes on from a checkpoint, or has come to its end there.

    `StateSnapshot.tasks` says so to whoever has the graph. A node has its config alone.
    """
    values = checkpoint["channel_values"]
    return bool(values.get(_SENDS)) or any(
        key == "__start__" or key.startswith(_BRANCH) or _is_joined(key, value) for key, value in values.items()
    )


def step_of(checkpoint: str) -> int:
    """Return the number of the step that a checkpoint was made after, from its id; that of an input has -1 and more.

    LangGraph makes the id a UUID of version 6, whose sequence of the clock, 14 bits, is the number. The metadata has it too,
    of a checkpoint that is written.
    """
    number = uuid.UUID(checkpoint).int >> 48 & 0x3FFF
    return number if number < 0x3FF0 else number - 0x4000


def _is_joined(key: str, value: Any) -> bool:
    """Tell whether all nodes of an edge have ended, so that the next one starts. Until then it does not keep a graph open."""
    if not key.startswith(_JOIN):
        return False
    # That of a deferred node also says whether all others have ended.
    ended = value[0] if isinstance(value, tuple | list) else value
    # A node's name has no colon, but may have a plus sign, so the names are counted by their length.
    names = key.removeprefix(_JOIN).rpartition(":")[0]
    return bool(ended) and sum(map(len, ended)) + len(ended) - 1 == len(names)


def next_request_id(session: ClientSession) -> RequestId:
    """Return the id that a session gives its next request.

    A cancellation has to name the request, and `send_request` neither returns the id nor sends the cancellation.
    """
    return session._request_id


def channels_of(config: RunnableConfig) -> Mapping[str, Any]:
    """Return the channels of the running graph by key, from the config of one of its nodes; none outside of a graph.

    They say which keys of the state have a reducer. A node can read the state itself, but not its channels.
    """
    read = config.get("configurable", {}).get(_READ)
    channels = read.args[1] if isinstance(read, partial) and len(read.args) > 1 else {}
    return channels if isinstance(channels, Mapping) else {}


def with_state_of(
    config: RunnableConfig, other: RunnableConfig, written: Iterable[tuple[str, Any]], send: Callable[[Any], None]
) -> RunnableConfig:
    """Return a config under which a tool reads and writes the state of another graph than the one that calls it.

    Backends such as deepagents' `StateBackend` read and write by the config, and mean the state of the agent.

    Args:
        config: Of the node that calls the tool.
        other: Of the node whose state is meant; without one the config comes back as it is.
        written: What has been written to that state, but is not in it yet, as pairs of key and value.
        send: Takes such pairs in place of that graph.
    """
    read = other.get("configurable", {}).get(_READ)
    if not isinstance(read, partial) or len(read.args) != 4:
        return config
    scratchpad, channels, managed, task = read.args
    writes = _last_values([*task.writes, *written], channels)
    own = partial(read.func, scratchpad, channels, managed, task._replace(writes=writes))

    def record(pairs: Iterable[tuple[str, Any]]) -> None:
        pairs = list(pairs)
        writes[:] = _last_values([*writes, *pairs], channels)  # the tool reads what it has written
        send(pairs)

    return {**config, "configurable": {**config.get("configurable", {}), _READ: own, _SEND: record}}


def _last_values(pairs: list[tuple[str, Any]], channels: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return writes with only the last one for each key that has no reducer: LangGraph refuses several."""
    from langgraph.channels import LastValue

    last = {key: place for place, (key, _) in enumerate(pairs)}
    return [
        (key, value)
        for place, (key, value) in enumerate(pairs)
        if last[key] == place or not isinstance(channels.get(key), LastValue)
    ]


def state_of(config: RunnableConfig, key: str) -> Any:
    """Return a value in the state of the running graph, with what the node has written; None outside of a graph.

    A node reads its state by its argument. A tool has the config alone.
    """
    read = config.get("configurable", {}).get(_READ)
    return None if read is None else read(key, True)


def with_narrow_read(branch: BranchSpec, keys: Iterable[str]) -> BranchSpec:
    """Return a conditional edge of a graph whose route sees these keys of the state alone; none of them may have a reducer.

    For each route LangGraph copies every channel of the graph, to read the state with what the node has just written.
    """
    keys = tuple(keys)

    class Narrow(type(branch)):  # type: ignore[misc]
        def run(self, writer: Any, reader: Callable[[RunnableConfig], Any] | None = None) -> Any:
            return super().run(writer, None if reader is None else partial(_read_last, keys, reader))

    return Narrow(*branch)


def _read_last(keys: Iterable[str], reader: Callable[[RunnableConfig], Any], config: RunnableConfig) -> Any:
    read = config.get("configurable", {}).get(_READ)
    if not isinstance(read, partial) or len(read.args) != 4:
        return reader(config)
    _, channels, _, task = read.args
    written = dict(task.writes)
    rest = [key for key in keys if key not in written and channels[key].is_available()]
    return {key: written[key] for key in keys if key in written} | {key: channels[key].get() for key in rest}


def checkpointer_of(config: RunnableConfig) -> Any:
    """Return the checkpointer of the running graph, from the config of one of its nodes; None where it has none.

    The journal of tool calls belongs into the same database.
    """
    return config.get("configurable", {}).get(_CHECKPOINTER)


def with_subgraph_number(config: RunnableConfig, number: int) -> RunnableConfig:
    """Return a node's config under which a subgraph has this number; outside of a node, the config itself.

    The number is part of the namespace of the subgraph's checkpoints. LangGraph counts subgraphs in the order in which
    they start, which differs between runs of a node that starts several at once.
    """
    configurable = config.get("configurable", {})
    scratchpad: Any = configurable.get(_SCRATCHPAD)
    if not hasattr(scratchpad, "subgraph_counter"):
        return config
    numbered = replace(scratchpad, subgraph_counter=lambda: number)
    return {**config, "configurable": {**configurable, _SCRATCHPAD: numbered}}


@dataclass(slots=True)
class _CallsOfTask:
    """The calls of graphs by a node: the numbers of all, and those that no call of this attempt has yet, by their input."""

    counter: Any
    attempt: Any = None
    numbers: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    free: dict[str, list[int]] = field(default_factory=dict)


_calls_of_tasks: OrderedDict[int, _CallsOfTask] = OrderedDict()
_MOST_TASKS = 1000
_lock = threading.Lock()


@contextmanager
def number_of_attempt(config: RunnableConfig | None, input: object) -> Iterator[RunnableConfig | None]:
    """Yield the config under which a graph that a node calls has the number that it had when it was tried before.

    LangGraph goes on counting where it tries a node again, or the node a graph. The graph would find neither its checkpoints
    nor its run then, and begin anew. Outside of a node, the config itself comes back.

    Args:
        config: As the graph is called with it; LangGraph adds that of the node.
        input: Of the graph: in the next attempt the node may call others, or the same ones in another order.
    """
    from langchain_core.runnables.config import var_child_runnable_config
    from langgraph.errors import GraphBubbleUp

    own = (config or {}).get("configurable") or {}
    # With a thread or a place of its own it is no part of the node's graph.
    is_apart = any(own.get(name) for name in ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map"))
    around = {} if is_apart else (var_child_runnable_config.get() or {}).get("configurable") or {}
    configurable = {**around, **own}
    scratchpad: Any = configurable.get(_SCRATCHPAD)
    if not hasattr(scratchpad, "subgraph_counter") or not hasattr(scratchpad, "interrupt_counter"):
        yield config
        return
    counter, attempt = scratchpad.subgraph_counter, scratchpad.interrupt_counter
    name = hashlib.sha256(repr(input).encode("utf-8", "surrogatepass")).hexdigest()
    with _lock:
        # The task holds its counter over all attempts, and so does this entry: no other counter gets its id meanwhile.
        calls = _calls_of_tasks.setdefault(id(counter), _CallsOfTask(counter))
        if len(_calls_of_tasks) > _MOST_TASKS:
            _calls_of_tasks.popitem(last=False)
        if calls.attempt is not attempt:  # each attempt counts its interrupts anew
            calls.attempt, calls.free = attempt, {key: numbers.copy() for key, numbers in calls.numbers.items()}
        if free := calls.free.get(name):
            number = free.pop(0)
        else:
            number = counter()
            calls.numbers[name].append(number)
    try:
        yield with_subgraph_number({**(config or {}), "configurable": configurable}, number)
    except GraphBubbleUp:  # it asks a person
        raise
    except BaseException:
        with _lock:
            if calls.attempt is attempt:
                calls.free.setdefault(name, []).append(number)
        raise


class Attempt(NamedTuple):
    """An attempt of a node: the same task has the same `task` in each, and `mark` is another object; they count from 1."""

    task: Any
    mark: Any
    number: int


def attempts_of(config: RunnableConfig) -> dict[str, Attempt]:
    """Return the attempts of the nodes around a graph, from the config of a node of the graph.

    `Runtime.execution_info` says of a node's own attempts alone which one it is.

    Returns:
        The attempts, by the namespace of the checkpoints of the graph that the node has called.
    """
    attempts: dict[str, Attempt] = {}
    while (around := _config_around(config)) is not None:
        config = around
        configurable = config.get("configurable") or {}
        scratchpad: Any = configurable.get(_SCRATCHPAD)
        runtime = configurable.get(_RUNTIME)
        if hasattr(scratchpad, "subgraph_counter") and hasattr(scratchpad, "interrupt_counter"):
            number = getattr(getattr(runtime, "execution_info", None), "node_attempt", 1)
            # The node has one counter of the graphs that it calls, and one of its interrupts for each attempt.
            attempt = Attempt(scratchpad.subgraph_counter, scratchpad.interrupt_counter, number)
            attempts[str(configurable.get("checkpoint_ns"))] = attempt
    return attempts


def _config_around(config: RunnableConfig) -> RunnableConfig | None:
    """Return the config with which a node's graph was called; None where it cannot be found."""
    # By this a node starts further tasks of its graph.
    call = (config.get("configurable") or {}).get(_CALL)
    schedule = call.keywords.get("schedule_task") if isinstance(call, partial) else None
    around: RunnableConfig | None = getattr(getattr(schedule, "__self__", None), "config", None)
    return around


def functions_of(tool: BaseTool) -> list[Callable[..., Any]]:
    """Return the methods that a subclass of `BaseTool` overrides: they have the type hints of its arguments."""
    return [tool._run, tool._arun]


def module_of_thread(thread: threading.Thread) -> str:
    """Return the name of the module whose function a thread runs, or an empty string once it has ended."""
    return str(getattr(getattr(thread, "_target", None), "__module__", ""))


def run_on_aiosqlite(connection: Connection, function: Callable[[sqlite3.Connection], T]) -> T:
    """Call a function with the `sqlite3` connection of an open aiosqlite connection, in its thread; wait up to 30 seconds.

    All that is public has to be awaited, and a graph is compiled without. The thread runs any function in its queue.

    Raises:
        ValueError: The connection is not open, or its thread does not answer.
    """
    if connection._connection is None:
        raise ValueError("it is not open")
    answers: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put((function(connection._conn), None))
        except Exception as error:
            answers.put((None, error))

    # No future goes with it: the thread would set the result in an event loop, which this caller blocks.
    connection._tx.put_nowait((None, ask))
    try:
        answer, error = answers.get(timeout=30)
    except queue.Empty:
        raise ValueError("its thread does not answer") from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]


def chat_providers() -> dict[str, tuple[str, str]]:
    """Return the providers that `init_chat_model` knows, each with the module and the package that it needs.

    LangChain lists them in the docstring of that function alone.
    """
    from langchain.chat_models.base import _BUILTIN_PROVIDERS

    modules = {name: module.split(".")[0] for name, (module, *_) in _BUILTIN_PROVIDERS.items()}
    return {name: (module, module.replace("_", "-")) for name, module in modules.items()}
