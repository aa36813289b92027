"""The place where a graph runs: its thread, and where in a larger graph it is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig

from codemode_graph.compat import checkpointer_of

ONE_RUN = "codemode_run"
"""The key of a config's metadata that names the thread where the thread is one run."""


class Place(NamedTuple):
    """The place where a graph runs.

    Attributes:
        thread: Its thread. A larger graph that keeps nothing has none, and its own task in it is unique. Empty where nothing
            is kept, so that nothing can be gone on with.
        namespace: Its place in a larger graph, without the ids and the numbers that LangGraph gives tasks.
        task: The same with them: another after time travel, and where a larger graph is given the same input again. A graph
            that keeps its state, `compile(checkpointer=True)`, has no ids there, but the step of the larger graph.
        parent: The checkpoint that the larger graph is at: equal for tasks that it runs side by side.
        step: The checkpoint that the thread is at.
        server_run: The run of LangGraph Server.
        is_fork: A caller named the checkpoint to go on from.
        is_one_run: The thread is one run, whatever comes to it, as those of a `CodeMode` are.
    """

    thread: str = ""
    namespace: str = ""
    task: str = ""
    parent: str = ""
    step: str = ""
    server_run: str | None = None
    is_fork: bool = False
    is_one_run: bool = False


class Level(NamedTuple):
    """A node of a larger graph that a graph runs in.

    Attributes:
        task: The node's name and the id of its task.
        number: Of the graph among those that the task has called, from 0. LangGraph goes on counting where it tries the task
            again.
    """

    task: str
    number: int


def place_of(config: RunnableConfig) -> Place:
    """Return where the graph of a node's config runs."""
    configurable, metadata = config.get("configurable") or {}, config.get("metadata") or {}
    # The last part is the node's own; the rest is where the graph stands in a larger one, a part for each level.
    namespace = str(configurable.get("checkpoint_ns") or "").rpartition("|")[0]
    parents: Mapping[str, Any] = configurable.get("checkpoint_map") or {}
    server_run = configurable.get("run_id") or metadata.get("run_id")
    step, thread = str(parents.get("") or ""), str(configurable.get("thread_id") or "")
    levels = levels_of(namespace)
    if levels and not thread and checkpointer_of(config) is None:
        thread = levels[0].task
    return Place(
        thread=thread,
        namespace="|".join(level.task.partition(":")[0] for level in levels),
        task=namespace if ":" in namespace or not namespace else f"{namespace}:{step}",
        parent=step if namespace else "",
        step=step,
        server_run=None if server_run is None else str(server_run),
        # LangGraph keeps the caller's in the metadata, and has its own in `configurable`.
        is_fork=metadata.get("checkpoint_id") is not None,
        is_one_run=bool(thread) and not namespace and metadata.get(ONE_RUN) == thread,
    )


def levels_of(task: str) -> list[Level]:
    """Return the nodes that a graph runs in, the outermost first, from its place with ids."""
    levels: list[Level] = []
    for part in task.split("|") if task else ():
        if levels and part.isdecimal():
            levels[-1] = Level(levels[-1].task, int(part))
        else:
            levels.append(Level(part, 0))
    return levels


def find_caller(task: str, other: str) -> int | None:
    """Return the level of the node that has called a graph for one place and again for another; None if they differ before."""
    for level, (mine, theirs) in enumerate(zip(levels_of(task), levels_of(other), strict=False)):
        if mine != theirs:
            return level if mine.task == theirs.task and ":" in mine.task else None
    return None


def namespace_at(task: str, level: int) -> str:
    """Return the namespace of the checkpoints of the graph that a node at this level has called."""
    return "|".join(
        "|".join([task, str(number)] if number else [task]) for task, number in levels_of(task)[: level + 1]
    )
