"""The delivery of an input to a thread, and of a run's result to its graph and the larger one around it, by checkpoints."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.graph import START

from codemode_graph.calls.identity import REJOIN_FOR, is_of_this_invocation
from codemode_graph.calls.journal import Journal, RunInfo
from codemode_graph.calls.log import Closed
from codemode_graph.calls.place import Place, place_of
from codemode_graph.calls.session import RunLog, SessionLost
from codemode_graph.compat import ERROR, checkpointer_of, has_steps_left, is_saved_at_exit
from codemode_graph.nodes.run_log import read_checkpoint

_EPOCH = 12_219_292_800
"""Seconds from where UUIDs count, the first day of the Gregorian calendar, to 1970."""
_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between looks for the checkpoint of the step that runs now, which LangGraph writes meanwhile."""


async def is_delivered(info: RunInfo, recent: bool, *, journal: Journal, config: RunnableConfig) -> bool:
    """Tell whether a run in a larger graph is over, so that its input, given again, is meant anew.

    It is closed then, but for the newest: from the last the next run of the same input has its id, and a larger graph that
    never ends may be given its input again.

    Args:
        info: The run.
        recent: It is one of the newest of its input.
        journal: Where it is.
        config: Of a node that its input has come to again.

    Raises:
        JournalError: The journal cannot be read or written.
    """
    log, place = RunLog(journal, info.run), place_of(config)
    await log.read()
    if log.view.judged is None:
        return False
    if checkpointer_of(config) is None:
        # Who gives the input again has the result of the one before, or its error. A node in this step may be tried again.
        recent, result = info.parent == place.parent, "kept"
    else:
        result = await _result(info, place, config)
    if result == "given again":
        return False
    if result == "missing":
        # In one invocation a larger graph may come to equal inputs one after the other, with no checkpoint in between. One that
        # begins anew has none of those runs, and matches them in their order.
        return is_of_this_invocation(info.run, place)
    if not recent:
        log.add(Closed(how=log.view.judged))
        with suppress(SessionLost):  # somebody else says so at this moment
            await log.flush()
    return True


async def input_time(opened: float, *, config: RunnableConfig) -> float:
    """Return when the input came that a graph works on: now, unless it goes on with a run that was opened long ago.

    A process that goes on with a thread after a day has been given nothing. It means the run that the thread is in.

    Args:
        opened: When the run was opened that it may be.
        config: Of a node.
    """
    now = time.time()
    if now - opened < REJOIN_FOR:
        return now
    way = [each async for each in _back_to_input(config)]
    return _time(way[-1].id) if way and way[-1].source == "input" else now


async def is_second_delivery(run: str, config: RunnableConfig) -> bool:
    """Tell whether an input was delivered twice at one time, and its run has ended before this delivery began.

    It came to the thread as it was before that run. Somebody who goes back to that means it anew, and so does somebody who has
    deleted the thread.

    Args:
        run: The run.
        config: Of a node.
    """
    if place_of(config).is_fork or any([each.source in ("fork", "update") async for each in _back_to_input(config)]):
        return False
    # A run is closed once a checkpoint names it; the one that has its verdict may come later.
    return bool(await saved_verdicts(run, config))


async def _back_to_input(config: RunnableConfig, step: str = "") -> AsyncIterator["_Saved"]:
    """Iterate over a thread's checkpoints, from one back to its input; from where a node is, unless another is named.

    One that is not written ends it.
    """
    checkpointer, place = checkpointer_of(config), place_of(config)
    step = step or place.step
    pauses = iter(() if is_saved_at_exit(config) else _PAUSES)
    while checkpointer is not None and step:
        found = await read_checkpoint(checkpointer, place, checkpoint_id=step)
        if found is None:
            if (pause := next(pauses, None)) is None:
                return
            await asyncio.sleep(pause)  # LangGraph writes the newest meanwhile
            continue
        saved: dict[str, _Saved] = {}
        _take(saved, found)
        yield saved[step]
        if saved[step].source == "input":
            return
        step = saved[step].parent


async def has_failed(namespace: str, *, config: RunnableConfig) -> bool:
    """Tell whether a graph that a node has called ended with an error, by the namespace of its checkpoints.

    Args:
        namespace: Of that graph, with ids.
        config: Of a node of the larger graph.
    """
    checkpointer = checkpointer_of(config)
    if checkpointer is None or is_saved_at_exit(config):
        return False
    found = await read_checkpoint(checkpointer, place_of(config), checkpoint_ns=namespace)
    return found is not None and any(channel == ERROR for _, channel, _ in found.pending_writes or ())


def _time(id: str) -> float:
    """Return when a checkpoint was made, by its id: a UUID of version 6 begins with the time."""
    number = uuid.UUID(id).int
    return ((number >> 80) << 12 | number >> 64 & 0xFFF) / 1e7 - _EPOCH


async def saved_verdicts(run: str, config: RunnableConfig) -> set[str | None]:
    """Return the verdicts on a run that the checkpoints of its own graph's thread have: none where none names it.

    Args:
        run: The run.
        config: Of a node.
    """
    checkpointer = checkpointer_of(config)
    if checkpointer is None:
        return set()
    saved = [each async for each in _newest_first(checkpointer, _thread(place_of(config)))]
    states = [each.checkpoint["channel_values"] for each in saved]
    return {state.get("verdict") for state in states if state.get("run_id") == run}


async def _newest_first(checkpointer: Any, thread: RunnableConfig) -> AsyncIterator[CheckpointTuple]:
    try:
        async for each in checkpointer.alist(thread):
            yield each
    except NotImplementedError:  # one for synchronous graphs, which a node must not block its loop for
        for each in await asyncio.to_thread(lambda: list(checkpointer.list(thread))):
            yield each


def _thread(place: Place) -> RunnableConfig:
    return {"configurable": {"thread_id": place.thread, "checkpoint_ns": ""}}


class _Saved(NamedTuple):
    """A checkpoint of a thread."""

    id: str
    parent: str
    source: str
    is_open: bool
    """The graph has steps left there."""
    start: Any
    """The input, where it is one."""


async def _result(info: RunInfo, place: Place, config: RunnableConfig) -> Literal["kept", "missing", "given again"]:
    age = await input_time(info.opened, config=config) - info.opened
    return "kept" if age >= REJOIN_FOR else await _find_result(info.parent, place, config)


async def _find_result(step: str, place: Place, config: RunnableConfig) -> Literal["kept", "missing", "given again"]:
    """Tell what has become of what a larger graph came to in the step after a checkpoint, on the way to where it is now.

    It may be kept; or that graph never came to its end, and was given its input again.

    Two executors that go on with a thread at one time write checkpoints beside each other, and what one of them has kept
    the other has not: to that one the same input is the same run. Somebody who goes back means it anew.

    Args:
        step: The checkpoint that the step begins with.
        place: Where the larger graph is now.
        config: Of a node.
    """
    saved = await _saved(step, place, config)
    if place.parent not in saved:  # no checkpoint is written before the graph's end: the thread has one way
        later = sorted(each for each in saved if each > step)
        return "kept" if later and saved[later[0]].source == "loop" else "missing"
    way = _way(saved, place.parent)
    after = [each for each in way if each.id > step]
    if step in (each.id for each in way) or step not in saved:
        if await _is_given_again(step, [each for each in way if each.id >= step], config):
            return "given again"
        return "kept" if after and after[0].source == "loop" else "missing"
    # Its step is on another way. The two part at the last checkpoint that they have in common.
    common = {each.id for each in _way(saved, step)}
    own = [each for each in way if each.id not in common]
    if place.is_fork or any(each.source in ("fork", "update") for each in own):
        return "kept"
    results = [each.id for each in saved.values() if each.parent == step and each.source == "loop"]
    inputs = [each.id for each in own if each.source == "input"]
    # An input that came after the result is another one; one that came before it is a second delivery of the same.
    return "kept" if results and inputs and inputs[0] > min(results) else "missing"


async def _is_given_again(step: str, since: list["_Saved"], config: RunnableConfig) -> bool:
    """Tell whether a larger graph that never came to its end was given its input again after a step began.

    Nobody has its answer, so what it had come to is not made anew. Another input puts an end to the one before it.

    Args:
        step: The checkpoint that the step begins with.
        since: It and the checkpoints since, on the way to where the graph is now.
        config: Of a node.
    """
    inputs = [(before, each) for before, each in pairwise(since) if each.source == "input"]
    if not inputs or not all(before.is_open for before, _ in inputs):
        return False
    way = [each async for each in _back_to_input(config, step)]
    return bool(way) and all(each.start == way[-1].start for _, each in inputs)


def _way(saved: dict[str, _Saved], to: str) -> list[_Saved]:
    """Return the checkpoints on the way to one, the oldest first, as far as they are known."""
    way = []
    while (found := saved.get(to)) is not None:
        way.append(found)
        to = found.parent
    return way[::-1]


async def _saved(step: str, place: Place, config: RunnableConfig) -> dict[str, _Saved]:
    """Return the checkpoints of a thread by their ids, from the newest back to where the ways to two of them part."""
    checkpointer, thread = checkpointer_of(config), _thread(place)
    now: RunnableConfig = {"configurable": {**thread["configurable"], "checkpoint_id": place.parent}}
    found: dict[str, _Saved] = {}
    with suppress(NotImplementedError):
        for pause in () if is_saved_at_exit(config) else _PAUSES:
            if await checkpointer.aget_tuple(now) is not None:
                break
            await asyncio.sleep(pause)
    async for each in _newest_first(checkpointer, thread):
        _take(found, each)
        if _is_enough(found, step, place.parent):
            break
    return found


def _take(found: dict[str, _Saved], each: CheckpointTuple) -> None:
    id, parent = each.checkpoint["id"], (each.parent_config or {}).get("configurable", {}).get("checkpoint_id") or ""
    found[id] = _Saved(
        id,
        str(parent),
        str(each.metadata.get("source")),
        has_steps_left(each.checkpoint),
        each.checkpoint["channel_values"].get(START),
    )


def _is_enough(found: dict[str, _Saved], step: str, now: str) -> bool:
    """Tell whether what was listed, from the newest back, says where the ways to two checkpoints part."""
    if min(found) > min(step, now):
        return False
    if step not in found or now not in found:  # not written, or not yet: what is still to come is older
        return True
    ways = _way(found, step), _way(found, now)
    return ways[0][0].id in (each.id for each in ways[1]) or ways[1][0].id in (each.id for each in ways[0])
