"""The run of an input of a graph: a new one, or one that began before and never ended."""

import hashlib
import json
import threading
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any, NamedTuple

from codemode_graph.calls.equal_calls import KnownEffects
from codemode_graph.calls.journal import Journal, RunInfo
from codemode_graph.calls.log import Attached, Delivered, Denied, Done, Ended, Event, Failed, Started, Unknown
from codemode_graph.calls.place import Place, find_caller, levels_of, namespace_at
from codemode_graph.compat import Attempt, step_of
from codemode_graph.state import ToolCall

REJOIN_FOR = 3600.0
"""Seconds for which the same input, given again on its thread, is the run that it began before."""


class _Claim(NamedTuple):
    """The last place that this process has matched a run to, and the attempts of the nodes around it there."""

    place: Place
    attempts: Mapping[str, Attempt]


# Two equal inputs that run side by side must not both take one run.
_claims: OrderedDict[str, _Claim] = OrderedDict()
_MOST_CLAIMS = 10_000
_RUNS = uuid.UUID("0f0d1e5a-6c39-4b0e-9d0c-3f3f1b9a7a51")
_lock = threading.Lock()
# Runs of one input that are over, but stay open: a larger graph that never ends may be given its input again, and come to
# them in their order. Each costs a look at the checkpoints whenever their input comes.
_RECENT = 8


def input_digest(payload: Mapping[str, Any]) -> str:
    """Return what equal inputs of a graph have in common."""
    text = json.dumps(payload, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class LargerGraph(NamedTuple):
    """What the graph around a graph tells of its runs.

    Attributes:
        attempts: Those of its nodes, see `attempts_of`.
        is_over: Says of a run whether it has its result, and the larger graph has kept it. It is told whether the run is one
            of the newest of its input.
        has_failed: Says whether a graph that a node called has failed, by the namespace of its checkpoints.
    """

    attempts: Mapping[str, Attempt]
    is_over: Callable[[RunInfo, bool], Awaitable[bool]]
    has_failed: Callable[[str], Awaitable[bool]]


async def find_run(
    journal: Journal,
    place: Place,
    digest: str,
    *,
    before: str = "",
    anew: bool = False,
    larger: LargerGraph | None = None,
    input_time: Callable[[float], Awaitable[float]],
) -> str:
    """Return the id of the run that an input is.

    An input that is given again on its thread, while a run of it has not ended, is that run: a checkpointer may not have
    written yet that it had begun. Equal inputs that a larger graph runs side by side are matched in the order of opening. So
    are those of a node that is tried again, which calls the graphs in it anew.

    Args:
        journal: Where runs are kept.
        place: Where the graph runs.
        digest: Of the input.
        before: The run that the thread had before this one.
        anew: Begin a new run in any case.
        larger: The graph around the graph, where there is one.
        input_time: Returns when the input came, for a run that was opened at this time.
    """
    if not place.thread or anew:
        return uuid.uuid4().hex
    found = sorted(await journal.find(place.thread, place.namespace, digest), key=lambda info: info.opened)
    failed: dict[str, str] = {}
    over: set[str] = set()
    attempts: Mapping[str, Attempt] = {}
    if larger is not None:
        attempts, recent = larger.attempts, {info.run for info in found[-_RECENT:]}
        for info in found:
            if (caller := _find_caller(info, place)) is not None:
                if await larger.has_failed(namespace_at(*caller)):
                    failed[info.run] = _places(info)[-1]
            elif place.task not in _places(info) and await larger.is_over(info, info.run in recent):
                over.add(info.run)
    # The oldest is the one that the input may be too late for; where it is not, none is.
    came = await input_time(found[0].opened) if found else 0.0

    def is_same(info: RunInfo) -> bool:
        if not _is_in_time(info, place, came):
            return False
        if place.task in (places := _places(info)):
            return True
        if (caller := _find_caller(info, place)) is None:
            return not _is_beside(info, place)
        return failed.get(info.run) == places[-1] or _is_free(info.run, *caller, place, attempts)

    def order(info: RunInfo) -> tuple[bool, bool, float]:
        return place.task not in _places(info), _find_caller(info, place) is None, info.opened

    # Graphs in several threads may look at the same moment; the look and the claim are one step.
    with _lock:
        for info in sorted(found, key=order):
            if info.run not in over and is_same(info):
                _claim(info.run, place, attempts)
                return info.run
        if place.parent:  # seldom a state says which run was before: the newest of the same input that is over
            before = next((info.run for info in reversed(found) if info.run in over), before)
        # Tasks that run side by side have the same run before them, and are interchangeable: they are numbered.
        news = (_new_run(place, digest, before, number) for number in count())
        known = {info.run for info in found} if place.parent else set()
        new = next(each for each in news if each not in known and not _is_claimed_beside(each, place))
        _claim(new, place, attempts)
    return new


def _places(info: RunInfo) -> list[str]:
    """Return where a run was matched to, the last place at the end: this process may not have recorded that one yet."""
    claim = _claims.get(info.run)
    places = [*info.places, info.place]
    return places if claim is None or claim.place.task == info.place else [*places, claim.place.task]


def _find_caller(info: RunInfo, place: Place) -> tuple[str, int] | None:
    """Return the place where a node called a graph for a run, and the node's level; it calls it again for this place.

    None where it is another node: if that graph was at another place in any of its calls, that was another step of it, which
    the run belongs to.
    """
    places = _places(info)
    levels = [find_caller(each, place.task) for each in places]
    known = [level for level in levels if level is not None]
    if len(known) < len(levels):
        return None
    # The one nearest to this place says most.
    level, index = max((level, index) for index, level in enumerate(known))
    return places[index], level


def _is_free(run: str, other: str, level: int, place: Place, attempts: Mapping[str, Attempt]) -> bool:
    """Tell whether a run at another call by a node is of an earlier attempt of the node, and of no call in this attempt."""
    if level + 1 == len(levels_of(place.task)):
        return False  # a graph of ours that the node calls itself has its number in each attempt
    mine, claim = attempts.get(namespace_at(place.task, level)), _claims.get(run)
    theirs = None if claim is None else claim.attempts.get(namespace_at(other, level))
    if mine is not None and theirs is not None and theirs.task is mine.task:
        return theirs.mark is not mine.mark
    # A process that goes on has come to all calls up to this one, also to those that had ended and do not run again. Where it
    # tries the node again, they are calls of an attempt before.
    is_later = levels_of(other)[level].number > levels_of(place.task)[level].number
    return is_later or (mine is not None and mine.number > 1)


def _new_run(place: Place, digest: str, before: str, number: int) -> str:
    """Return an id for a new run: the same for all who begin it.

    An input that is delivered twice at one time finds no run of its own yet; both have the same run before them. Of a larger
    graph each delivery may have checkpoints of its own, so tasks have other ids; without checkpoints the task says which run
    it is, as LangGraph starts it again under its id.
    """
    where = place.namespace if place.parent else place.task
    parts = (place.thread, where, digest, before, place.server_run or "", *[str(number)] * (number > 0))
    return uuid.uuid5(_RUNS, "\0".join(parts)).hex


def _is_in_time(info: RunInfo, place: Place, came: float) -> bool:
    # A new run of the server is asked for anew by somebody, not a retry.
    if info.server_run is not None and place.server_run is not None and info.server_run != place.server_run:
        return False
    # An equal input much later is meant anew: a daily report has the same words every day.
    return info.server_run is not None or came - info.opened <= REJOIN_FOR


def _is_beside(info: RunInfo, place: Place) -> bool:
    """Tell whether a run belongs to what runs beside this place, in the same step of the larger graph."""
    return bool(place.parent and info.parent == place.parent) or _is_claimed_beside(info.run, place)


def _is_claimed_beside(run: str, place: Place) -> bool:
    claim = _claims.get(run)
    return claim is not None and bool(place.parent) and claim.place.parent == place.parent and claim.place != place


def is_of_this_invocation(run: str, place: Place) -> bool:
    """Tell whether this process has come to a run at another place of the invocation of a larger graph that it is in.

    An invocation that begins anew, because the checkpoints of the one before are lost, comes to the step again: its number is
    not above that of the run's.
    """
    claim = _claims.get(run)
    if claim is None or claim.place == place or not (claim.place.parent and place.parent):
        return False
    return claim.place.parent == place.parent or step_of(claim.place.parent) < step_of(place.parent)


def _claim(run: str, place: Place, attempts: Mapping[str, Attempt]) -> None:
    _claims[run] = _Claim(place, attempts)
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
