"""The calls of failed programs of an agent's thread that no later program has taken up: kept in the agent's state.

Messages cannot keep it: summaries and trimmed histories remove them. A program of the same turn repairs the failed ones
before it, so it is answered from their calls. In a later turn an equal call is held until the program says that it is meant
anew.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from langchain_core.messages import AnyMessage, HumanMessage
from typing_extensions import TypedDict

from codemode_graph.calls.gate import by_digest
from codemode_graph.calls.view import newest
from codemode_graph.state import ToolCall

_STANDS = ("done", "unknown", "started", "interrupted")
# What was recorded for one run only, and does not hold in the run of the next program.
_OF_ONE_RUN = ("answered", "decision", "updates", "mark", "undone", "tries")


class ProgramCalls(TypedDict):
    """Calls of one program that no later program has taken up."""

    people: list[str]
    """Ids of the messages of people that the agent had when the program ran."""
    calls: dict[str, ToolCall | None]
    """By key; in an update, None for one that has been taken up."""


def merge_programs(known: Mapping[str, ProgramCalls], update: Mapping[str, ProgramCalls]) -> dict[str, ProgramCalls]:
    """Return the calls of programs after one of them has ended. Programs that run side by side may end in any order."""
    merged = dict(known)
    for name, program in update.items():
        calls = {**merged.get(name, program)["calls"], **program["calls"]}
        rest: dict[str, ToolCall | None] = {key: call for key, call in calls.items() if call is not None}
        if rest:
            merged[name] = {**program, "calls": rest}
        else:
            merged.pop(name, None)
    return merged


@dataclass(frozen=True, slots=True)
class TurnCalls:
    """The calls that a new program finds.

    Args:
        programs: The agent's state: what programs did that nobody has taken up.
        messages: The agent's messages.
    """

    programs: Mapping[str, ProgramCalls]
    messages: Sequence[AnyMessage]
    current: list[ToolCall] = field(init=False, default_factory=list)
    """Of this turn, as of one attempt before the first: equal calls of two programs stand there twice."""
    past: list[ToolCall] = field(init=False, default_factory=list)
    """Of turns before, whose equal calls are not made unless they are meant anew."""
    # By the key of a call in `current`, where it stands in the state.
    _places: dict[str, tuple[str, str]] = field(init=False, default_factory=dict)
    _past_places: list[tuple[str, str, ToolCall]] = field(init=False, default_factory=list)
    # What was read in turns before.
    _stale: list[tuple[str, str]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        people = set(_people(self.messages))
        counts: Counter[tuple[str, str]] = Counter()
        every = [
            (call, name, key)
            for name, program in self.programs.items()
            for key, call in program["calls"].items()
            if call is not None
        ]
        for call, name, key in sorted(every, key=lambda each: each[0]["started"]):
            # A turn ends with a message that arrives. Messages that have gone, such as into a summary, end none.
            if people <= set(self.programs[name]["people"]):
                counts[_digest(call)] += 1
                for each in (*call.get("tries", ()), call):
                    copy = _as_attempt_0(each, len(self.current) + 1, counts[_digest(call)])
                    self.current.append(copy)
                self._places[copy["key"]] = name, key
            elif call["effect"] in ("write", "destructive") and call["status"] in _STANDS:
                self.past.append({**call, "value": None})
                self._past_places.append((name, key, call))
            elif call["effect"] == "read":
                self._stale.append((name, key))

    def update(self, result: Mapping[str, Any]) -> dict[str, ProgramCalls]:
        """Return the update of the agent's state after the new program has ended; nothing where nothing changes.

        A program that succeeds takes up all calls of its turn but those that are left over. One that fails leaves its own.

        Args:
            result: Of the program, as `CodeMode.run` returns it.
        """
        calls = _with_tries(result["tool_calls"])
        # An effect that was undone is gone, and so is what undid it.
        undone = {call["undone"] for call in calls if "undone" in call} | {
            call["id"] for call in calls if "undone" in call
        }
        open_calls = {call["key"]: call for call in calls if call["id"] not in undone}
        if result["success"]:
            open_calls = {key: call for key, call in open_calls.items() if call["id"] in result["left_over"]}
        own = {key: call for key, call in open_calls.items() if key not in self._places}
        # What a failed program read tells its repair the way to what it did, and nothing where it did nothing.
        if all(call["effect"] == "read" for call in open_calls.values()):
            own = {}
        update: dict[str, ProgramCalls] = {}
        if own:
            update[uuid4().hex] = ProgramCalls(people=_people(self.messages), calls={**own})
        for key, (name, place) in self._places.items():
            known = self.programs[name]["calls"][place]
            call = open_calls.get(key)
            if call is None:
                self._note(update, name, place, None)
            elif known is not None and (call["attempt"] != 0 or call["status"] != known["status"]):
                self._note(update, name, place, {**call, "key": place})
        for name, place in self._stale:
            self._note(update, name, place, None)
        standing = by_digest(call for call in calls if call["attempt"] and call["status"] in _STANDS)
        for name, place, past in self._past_places:
            if standing.keys() & by_digest([past]).keys():
                self._note(update, name, place, None)
        return update

    def _note(self, update: dict[str, ProgramCalls], name: str, place: str, call: ToolCall | None) -> None:
        people = self.programs[name]["people"]
        update.setdefault(name, ProgramCalls(people=people, calls={}))["calls"][place] = call


def _people(messages: Sequence[AnyMessage]) -> list[str]:
    """Return the ids of the messages that people wrote. LangChain's summary is a message of a person as well, by its type."""
    return [
        str(message.id)
        for message in messages
        if isinstance(message, HumanMessage) and message.additional_kwargs.get("lc_source") != "summarization"
    ]


def _with_tries(records: Sequence[ToolCall]) -> list[ToolCall]:
    """Return the newest record of each call, with those of the tries that failed before it.

    A repair that takes the same way is told their failures again. Without them a loop that counts its tries makes a call more,
    and what runs side by side ends in another order.
    """
    tries: dict[str, list[ToolCall]] = {}
    for call in records:
        if call["status"] == "failed":
            tries.setdefault(call["key"], []).append(call)
    found = []
    for call in newest(records):
        before = [each for each in tries.get(call["key"], ()) if each is not call]
        found.append({**call, "tries": before} if before else call)
    return found


def _digest(call: ToolCall) -> tuple[str, str]:
    return call["tool"], call["key"].rpartition(":")[2]


def _as_attempt_0(call: ToolCall, number: int, occurrence: int) -> ToolCall:
    copy = call.copy()
    copy["key"] = f"{call['tool']}#{occurrence}:{_digest(call)[1]}"
    copy["id"], copy["attempt"] = f"0.{number}", 0
    for name in _OF_ONE_RUN:
        copy.pop(name, None)  # type: ignore[misc]
    return copy
