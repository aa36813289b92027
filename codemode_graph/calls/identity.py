"""The run of an input of a graph: a new one, or one that began before and never ended."""

import hashlib
import json
import threading
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig

from codemode_graph.calls.equal_calls import KnownEffects
from codemode_graph.calls.journal import Journal, RunInfo
from codemode_graph.calls.log import Attached, Delivered, Denied, Done, Ended, Event, Failed, Started, Unknown
from codemode_graph.state import ToolCall

REJOIN_FOR = 3600.0
"""Seconds for which the same input, given again on its thread, is the run that it began before."""
ONE_RUN = "codemode_run"
"""The key of a config's metadata that names the thread where the thread is one run."""

# Runs that this process has matched to a place: two equal inputs that run side by side must not both take one run.
_claims: OrderedDict[str, "Place"] = OrderedDict()
_MOST_CLAIMS = 10_000
_RUNS = uuid.UUID("0f0d1e5a-6c39-4b0e-9d0c-3f3f1b9a7a51")
_lock = threading.Lock()
# Runs of one input that are over, but stay open: a larger graph that never ends may be given its input again, and come to
# them in their order. Each costs a look at the checkpoints whenever their input comes.
_RECENT = 8


class Place(NamedTuple):
    """The place where a graph runs.

    Attributes:
        thread: Its thread; empty where nothing is kept, so that nothing can be gone on with.
        namespace: Its place in a larger graph, without the ids that LangGraph gives tasks.
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


def place_of(config: RunnableConfig) -> Place:
    """Return where the graph of a node's config runs."""
    configurable, metadata = config.get("configurable") or {}, config.get("metadata") or {}
    # The last part is the node's own; the rest is where the graph stands in a larger one, a part for each level.
    namespace = str(configurable.get("checkpoint_ns") or "").rpartition("|")[0]
    parents: Mapping[str, Any] = configurable.get("checkpoint_map") or {}
    server_run = configurable.get("run_id") or metadata.get("run_id")
    step, thread = str(parents.get("") or ""), str(configurable.get("thread_id") or "")
    return Place(
        thread=thread,
        namespace="|".join(part.partition(":")[0] for part in namespace.split("|")),
        task=namespace if ":" in namespace or not namespace else f"{namespace}:{step}",
        parent=step if namespace else "",
        step=step,
        server_run=None if server_run is None else str(server_run),
        # LangGraph keeps the caller's in the metadata, and has its own in `configurable`.
        is_fork=metadata.get("checkpoint_id") is not None,
        is_one_run=bool(thread) and not namespace and metadata.get(ONE_RUN) == thread,
    )


def input_digest(payload: Mapping[str, Any]) -> str:
    """Return what equal inputs of a graph have in common."""
    text = json.dumps(payload, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


async def find_run(
    journal: Journal,
    place: Place,
    digest: str,
    *,
    before: str = "",
    anew: bool = False,
    is_over: Callable[[RunInfo, bool], Awaitable[bool]] | None = None,
    input_time: Callable[[float], Awaitable[float]],
) -> str:
    """Return the id of the run that an input is.

    An input that is given again on its thread, while a run of it has not ended, is that run: a checkpointer may not have
    written yet that it had begun. Equal inputs that a larger graph runs side by side are matched in the order of opening.

    Args:
        journal: Where runs are kept.
        place: Where the graph runs.
        digest: Of the input.
        before: The run that the thread had before this one.
        anew: Begin a new run in any case.
        is_over: Says of a run in a larger graph whether it has its result, and the larger graph has kept it. It is told
            whether the run is one of the newest of its input.
        input_time: Returns when the input came, for a run that was opened at this time.
    """
    if not place.thread or anew:
        return uuid.uuid4().hex
    found = sorted(await journal.find(place.thread, place.namespace, digest), key=lambda info: info.opened)
    over: set[str] = set()
    if is_over is not None:
        recent = {info.run for info in found[-_RECENT:]}
        over = {info.run for info in found if info.place != place.task and await is_over(info, info.run in recent)}
    # The oldest is the one that the input may be too late for; where it is not, none is.
    came = await input_time(found[0].opened) if found else 0.0
    # Graphs in several threads may look at the same moment; the look and the claim are one step.
    with _lock:
        for info in sorted(found, key=lambda info: (info.place != place.task, info.opened)):
            if info.run not in over and _is_same(info, place, came):
                _claim(info.run, place)
                return info.run
        if place.parent:  # seldom a state says which run was before: the newest of the same input that is over
            before = next((info.run for info in reversed(found) if info.run in over), before)
        # Tasks that run side by side have the same run before them, and are interchangeable: they are numbered.
        news = (_new_run(place, digest, before, number) for number in count())
        others = {info.run for info in found} if place.parent else set()
        new = next(each for each in news if each not in others and not _is_beside(_claims.get(each), place))
        _claim(new, place)
    return new


def _new_run(place: Place, digest: str, before: str, number: int) -> str:
    """Return an id for a new run: the same for all who begin it.

    An input that is delivered twice at one time finds no run of its own yet; both have the same run before them. Of a larger
    graph each delivery may have checkpoints of its own, so tasks have other ids; without checkpoints the task says which run
    it is, as LangGraph starts it again under its id.
    """
    where = place.namespace if place.parent else place.task
    parts = (place.thread, where, digest, before, place.server_run or "", *[str(number)] * (number > 0))
    return uuid.uuid5(_RUNS, "\0".join(parts)).hex


def _is_beside(claim: Place | None, place: Place) -> bool:
    """Tell whether a run is of another task in the same step of a larger graph."""
    return claim is not None and bool(place.parent) and claim.parent == place.parent and claim != place


def _is_same(info: RunInfo, place: Place, came: float) -> bool:
    # A new run of the server is asked for anew by somebody, not a retry.
    if info.server_run is not None and place.server_run is not None and info.server_run != place.server_run:
        return False
    # An equal input much later is meant anew: a daily report has the same words every day.
    if info.server_run is None and came - info.opened > REJOIN_FOR:
        return False
    if info.place == place.task:
        return True
    # What runs beside this one, in the same step of the larger graph, has its own run.
    beside = (place.parent and info.parent == place.parent) or _is_beside(_claims.get(info.run), place)
    return not beside


def is_of_this_process(run: str, place: Place) -> bool:
    """Tell whether this process has begun or gone on with a run, at another place than this one."""
    claim = _claims.get(run)
    return claim is not None and claim != place


def _claim(run: str, place: Place) -> None:
    _claims[run] = place
    _claims.move_to_end(run)
    if len(_claims) > _MOST_CLAIMS:
        _claims.popitem(last=False)


def import_calls(calls: list[ToolCall]) -> list[Event]:
    """Return the events that say what is known of calls from elsewhere: an agent's earlier program, or a lost journal.

    Args:
        calls: What is known, oldest first.
    """
    if not calls:
        return []
    # They come as calls of a session 0 that failed: sessions of this run begin at 1.
    attempt = max(call["attempt"] for call in calls)
    calls = sorted(calls, key=lambda call: call["started"])
    known, events = KnownEffects(), list[Event]()
    events.append(Attached(session=0, attempt=attempt, digest="", owner="", until=0.0))
    moments = [(call["started"], index, False) for index, call in enumerate(calls)]
    moments += [(call["started"] + call["seconds"], index, True) for index, call in enumerate(calls)]
    for _, index, is_over in sorted(moments):
        call = calls[index]
        if not is_over:
            events.append(_started(call, known_effects=known.text))
            continue
        events += _ending(call, index)
        # What the program was told, and when, says what a repair that takes the same way has to see: `decide`, rule B.
        if call["status"] in ("done", "failed", "denied") and call["attempt"] == attempt:
            events.append(Delivered(session=0, clock=0.0, numbers=[_number(call)]))
            if call["status"] == "done" and call["effect"] != "read":
                known.add(call["key"])
    return [*events, Ended(session=0, how="failed")]


def _started(call: ToolCall, *, known_effects: str) -> Started:
    name, _, digest = call["key"].rpartition(":")
    return Started(
        session=0,
        attempt=call["attempt"],
        number=_number(call),
        tool=call["tool"],
        digest=digest,
        occurrence=int(name.rpartition("#")[2]),
        effect=call["effect"],
        arguments=call["arguments"],
        known_effects=known_effects,
        time=call["started"],
        line=call["line"],
        key=call.get("idempotency_key"),
        edited=_digest_in(call.get("edited")),
        answers=call.get("answers"),
    )


def _number(call: ToolCall) -> int:
    return int(call["id"].partition(".")[2] or 0)


def _digest_in(key: str | None) -> str | None:
    return None if key is None else key.rpartition(":")[2]


def _ending(call: ToolCall, index: int) -> list[Event]:
    at = call["started"] + call["seconds"]
    match call["status"]:
        case "done":
            return [Done(call=index, time=at, value=call["value"], error=call["error"], updates=call.get("updates"))]
        case "failed" if call["error"] is not None:
            return [Failed(call=index, time=at, error=call["error"])]
        case "denied" if call["error"] is not None:
            return [Denied(call=index, time=at, error=call["error"])]
        # Whatever had no recorded end may have taken effect.
        case _:
            return [Unknown(call=index, time=at, error=call["error"])]
