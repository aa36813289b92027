"""The journal of the run that a node works on: where it is kept, how it begins, how it ends."""

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import replace
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.runtime import get_runtime
from langgraph.store.base import BaseStore

from codemode_graph.calls.identity import import_calls
from codemode_graph.calls.journal import Journal, JournalError, MemoryJournal
from codemode_graph.calls.locate import journal_beside, keep_beside
from codemode_graph.calls.log import Closed, Judged, Opened, Proposed
from codemode_graph.calls.place import Place, place_of
from codemode_graph.calls.session import RunLog, SessionLost
from codemode_graph.compat import checkpointer_of
from codemode_graph.events import logger
from codemode_graph.settings import Parts
from codemode_graph.state import Attempt, CodeModeState, ModelCall

# Each warning once in a process, not once for each run.
_warned: set[str] = set()


def journal_of(parts: Parts, config: RunnableConfig) -> Journal:
    """Return the journal of the graph that a node's config is of; this process's memory where it has no other."""
    return find_journal(parts.journal, config) or parts.memory


def find_journal(named: Journal | None, config: RunnableConfig) -> Journal | None:
    """Return the journal of the graph that a node's config is of.

    The one that the graph names; else one in the database of its checkpointer; else one in LangGraph's store; None
    where it has neither.
    """
    if named is not None:
        return named
    checkpointer = checkpointer_of(config)
    if (journal := journal_beside(checkpointer)) is not None:
        return journal
    store = get_runtime().store
    if store is not None:
        return _store_journal(store)
    if checkpointer is None:
        return None
    # Checkpoints in memory end with the process as the journal does, so there is nothing to warn of.
    if not isinstance(checkpointer, InMemorySaver):
        name = type(checkpointer).__name__
        _warn(
            f"the checkpoints of {name} outlive this process, but the journal of tool calls does not: after a kill, calls "
            "may be made again. Give create_codemode(journal=...) a SQLiteJournal or a PostgresJournal"
        )
    return keep_beside(checkpointer, MemoryJournal)


def _store_journal(store: BaseStore) -> Journal:
    from codemode_graph.calls.store import StoreJournal

    journal = keep_beside(store, lambda: StoreJournal(store))
    if journal.durable:
        _warn(
            "the journal of tool calls is in a LangGraph store, which cannot keep two executors of one run apart: run one "
            "at a time on a thread, or give create_codemode(journal=...) a SQLiteJournal or a PostgresJournal"
        )
    return journal


def _warn(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        logger.warning("%s", message)


async def open_log(state: CodeModeState, parts: Parts, config: RunnableConfig) -> RunLog:
    """Read the journal of the state's run. One that is not there yet begins with what the state knows.

    Raises:
        JournalError: It cannot be read, or the state is of a version that had no journal.
    """
    # Version 0.1.0 kept its records in the state alone, without what the rules need to tell equal calls apart.
    if "sequence" not in state:
        waiting = "; ".join(f"{call['tool']} {call['arguments']}" for call in state.get("pending") or ())
        raise JournalError(
            "this run was started by codemode-graph 0.1.0, whose records this version cannot go on from without the risk of "
            "making a call twice. Give its task again, on a new thread. "
            f"It waited for a person to decide on: {waiting or 'nothing'}"
        )
    log = RunLog(journal_of(parts, config), state["run_id"])
    await log.read()
    if log.view.opened is None:
        opened = _opened(state, place_of(config))
        # The journal is lost, or an agent's earlier program is repaired: the state's calls are all that is known.
        log.add(opened, *import_calls(state["tool_calls"]))
    place, known = place_of(config), log.view.opened
    if place.namespace and known is not None and (known.place, known.parent) != (place.task, place.parent):
        # Its input came again: from now on its result is for this step of the larger graph to keep.
        log.add(replace(known, place=place.task, parent=place.parent))
    number = len(state["attempts"])
    if number not in log.view.programs:
        log.add(_proposed(state["attempts"][-1], number, state["usage"]))
    return log


def _opened(state: CodeModeState, place: Place) -> Opened:
    return Opened(
        thread=place.thread,
        namespace=place.namespace,
        place=place.task,
        parent=place.parent,
        digest=state["input_digest"],
        # For a list of runs; the whole task is in the state.
        task=state["task"][:500],
        server_run=place.server_run,
        superseded=state.get("superseded") or "",
        seed=state["seed"],
        now=state["started"],
    )


def _proposed(attempt: Attempt, number: int, usage: list[ModelCall]) -> Proposed:
    used: list[dict[str, Any]] = [dict(call) for call in usage if call["attempt"] == number]
    return Proposed(
        attempt=number, program=attempt["written"], thoughts=attempt["thoughts"], usage=used[-1] if used else None
    )


async def proposed(state: CodeModeState, parts: Parts, config: RunnableConfig, number: int) -> Proposed | None:
    """Return the program of an attempt that another executor of this run has written already; None where none has.

    Raises:
        JournalError: The journal cannot be read.
    """
    log = RunLog(journal_of(parts, config), state["run_id"])
    await log.read()
    return log.view.programs.get(number)


async def close(log: RunLog, how: str, config: RunnableConfig) -> None:
    """Close a run that has its verdict. Where nothing can come back to it, it is removed from this process's memory.

    Args:
        log: Its journal.
        how: The verdict.
        config: Of a node.

    Raises:
        JournalError: It cannot be written.
    """
    checkpointer, place = checkpointer_of(config), place_of(config)
    # Until a checkpoint names the run, a process that goes on after a kill knows it by its input alone, and only while it
    # is open: then the next input of the thread closes it. In a larger graph it is the next equal input that does.
    if log.view.closed is None and place.namespace:
        if log.view.judged is None:
            log.add(Judged(how=how))
    elif log.view.closed is None and await _is_in_checkpoint(log.run, checkpointer, place):
        log.add(Closed(how=how))
    await log.flush()
    # Without a checkpointer nothing can resume the run, but a node of a larger graph that is tried again; and a server would
    # otherwise collect the journals of all its runs.
    if checkpointer is None and isinstance(log.journal, MemoryJournal):
        forget = log.journal.delete if how == "ok" else log.journal.retire
        await (log.journal.finish if place.namespace else forget)(log.run)


async def _is_in_checkpoint(run: str, checkpointer: Any, place: Place) -> bool:
    """Tell whether a checkpoint names a run, or there is nothing that could after a kill."""
    if checkpointer is None or isinstance(checkpointer, InMemorySaver):
        return True
    newest = await read_checkpoint(checkpointer, place)
    return newest is not None and newest.checkpoint["channel_values"].get("run_id") == run


async def read_checkpoint(checkpointer: Any, place: Place, **configurable: str) -> CheckpointTuple | None:
    """Return the newest checkpoint of a thread, or the one that is named by its `checkpoint_id`."""
    config: RunnableConfig = {"configurable": {"thread_id": place.thread, "checkpoint_ns": "", **configurable}}
    try:
        found: CheckpointTuple | None = await checkpointer.aget_tuple(config)
    except NotImplementedError:  # one for synchronous graphs, which a node must not block its loop for
        found = await asyncio.to_thread(checkpointer.get_tuple, config)
    return found


async def close_ended(state: CodeModeState, parts: Parts, config: RunnableConfig, how: str) -> None:
    """Close a run that ended without its last program having run.

    Raises:
        JournalError: It cannot be read or written.
    """
    log = RunLog(journal_of(parts, config), state["run_id"])
    await log.read()
    if log.view.opened is not None:
        with suppress(SessionLost):  # another executor of the same input has gone on with it, and closes it
            await close(log, how, config)


def program_digest(program: str) -> str:
    """Return what equal programs have in common."""
    return hashlib.sha256(program.encode("utf-8", "surrogatepass")).hexdigest()[:32]
