"""The journal: what has been called, and what a repeated call is answered.

A call is known by its key: the tool, its canonical arguments, and its occurrence, which tells identical calls apart (see
`occurrences`). The first identical call of a repaired program meets the first record that may have taken effect. A call
that a program makes again after an error keeps its key. A program that takes another path simply makes calls that are not
in the journal.
"""

import hashlib
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from codemode_sandboxes import Outcome, Raised, Returned
from langgraph.store.base import BaseStore

from codemode_graph.calls.journal_store import JournalStore, identity
from codemode_graph.calls.occurrences import Occurrences, call_digest, occurrence
from codemode_graph.state import Question, StateUpdate, ToolCall, ToolCallStatus, ToolError
from codemode_graph.tools.spec import Effect

__all__ = ["Journal", "canonical"]

_NAMESPACE = uuid.UUID("5c1a8f2e-6f0b-4a53-9f0e-0f3f4ad2b7c6")


def canonical(arguments: Mapping[str, Any]) -> str:
    """Arguments as text that is equal exactly when the arguments are."""
    return json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Journal:
    """The records of a run, for the attempt that is being made.

    Args:
        records: What earlier attempts left, oldest first.
        attempt: The number of this attempt.
        store: Where calls with an effect are written before and after they are made, so that a process that is killed
            leaves a trace of them. None leaves that out.
        run_id: Keeps the records of different runs apart in the store.
    """

    def __init__(
        self, records: Iterable[ToolCall] = (), *, attempt: int = 1, store: BaseStore | None = None, run_id: str = ""
    ) -> None:
        self._attempt, self._store, self._run_id = attempt, JournalStore(store, run_id), run_id
        self._read([record.copy() for record in records])

    def _read(self, records: list[ToolCall]) -> None:
        self._records: list[ToolCall] = []
        self._places: dict[tuple[str, str], int] = {}
        self._latest: dict[str, ToolCall] = {}
        self._given: dict[tuple[str, str], ToolCall] = {}
        self._met: set[str] = set()
        self._reads: dict[str, ToolCall] = {}
        self._counts: Counter[str] = Counter()
        self._last_effect = self._newest = 0.0
        self._doubts: set[str] = set()
        self._made: list[str] = []
        for record in records:
            self._put(record)
            self._ended(record)
        self._occurrences = Occurrences(self._records, self._attempt)

    def _put(self, record: ToolCall) -> None:
        """Add a record, in place of an earlier one of the same call.

        A program that goes another way when it is started again may give a number to another call: that replaces nothing.
        """
        key, place = record["key"], self._places.setdefault(identity(record), len(self._records))
        if place < len(self._records):
            replaced = self._records[place]
            self._count(replaced, -1)
            self._records[place] = record
            if self._latest[key] is replaced:
                self._latest[key] = record
        else:
            self._records.append(record)
            self._latest[key] = record
        self._count(record, 1)
        self._newest = max(self._newest, record["started"])
        self._given |= dict.fromkeys(((id, call_digest(key)) for id in _told_to(record)), record)

    def _ended(self, record: ToolCall) -> None:
        if record["effect"] != "read":
            (self._doubts.add if record["status"] in ("unknown", "started") else self._doubts.discard)(record["key"])
            self._last_effect = max(self._last_effect, _end(record))
        elif record["status"] == "done":
            self._reads[call_digest(record["key"])] = record

    def _count(self, record: ToolCall, change: int) -> None:
        if record["status"] != "denied":
            self._counts[record["tool"]] += change

    @property
    def records(self) -> list[ToolCall]:
        """Every record, oldest first."""
        return self._records

    @property
    def updates(self) -> list[StateUpdate]:
        """What tools updated by `Command`s, in the order of their calls."""
        return [
            StateUpdate(call=record["id"], tool=record["tool"], update=update)
            for record in self._records
            for update in record.get("updates", ())
        ]

    @property
    def made(self) -> list[str]:
        """Ids of the calls of this attempt, in order, those answered from earlier records included."""
        return self._made

    @property
    def begun(self) -> bool:
        """Whether this attempt's program has made calls before."""
        return any(id.partition(".")[0] == str(self._attempt) for id, _ in self._given)

    def key(self, number: int, tool: str, arguments: Mapping[str, Any]) -> str:
        """Key of a call that the program makes now. Counts it: ask once a call.

        Args:
            number: The call's, within the attempt.
            tool: The tool's name.
            arguments: What it is called with.
        """
        digest = hashlib.sha256(f"{tool}\0{canonical(arguments)}".encode()).hexdigest()[:20]
        given = self._before(number, digest)
        recorded = None if given is None else occurrence(given["key"])
        return f"{tool}#{self._occurrences.take(number, digest, recorded=recorded)}:{digest}"

    def told(self, number: int, *, error: bool) -> None:
        """Note that the program goes on with a call's outcome. After an error, an identical call is that call again."""
        self._occurrences.told(number, error=error)

    def answer(self, number: int, key: str, *, cached: bool = False) -> tuple[ToolCall, Outcome] | None:
        """The recorded answer to a call, or None where the tool has to be called.

        * A call that this attempt's program has made before, which has been started again: whatever it was answered then.
        * *done*, with an effect: answered, never repeated.
        * *done*, a read: answered, unless a call with an effect ended since; an old answer must not hide a change.
        * *denied*: denied again; nobody is asked twice.
        * *failed*, and reads in any other status: called again.
        * *unknown* or still *started*, with an effect: None as well; `may_repeat` tells whether it may be made again.
        * *interrupted*: None; the tool is started again when it is answered.

        Args:
            number: The call's, within the attempt.
            key: The call's key.
            cached: Take an earlier identical read for it too, as long as nothing has changed since.
        """
        given = self._before(number, call_digest(key))
        record = given or self._latest.get(key) or (self._fresh_read(key) if cached else None)
        if record is None:
            return None
        replayed = given is not None or (record["attempt"] == self._attempt and record["id"] not in self._met)
        outcome: Outcome
        if record["error"] is not None and (replayed or record["status"] in ("denied", "done")):
            outcome = Raised(record["error"]["type"], record["error"]["message"])
        elif record["status"] == "done" and (replayed or record["effect"] != "read" or self._is_fresh(record)):
            outcome = Returned(record["value"])
        else:
            return None
        self._give(number, record)
        return record, outcome

    def take_over(self, number: int, record: ToolCall) -> bool:
        """Let a call that was cut off be the one that is made now, as it is now known what came of it.

        Returns:
            Whether it is. Not where this program was told that it was cut off: then that stays as it was.
        """
        if record["id"] in self._met:
            return False
        self._give(number, record)
        return True

    def disprove(self, record: ToolCall) -> None:
        """Note that a call that was cut off has not taken effect."""
        record["status"] = "not_started" if record["error"] is None else "failed"
        record["disproved"] = self._attempt
        self._ended(record)

    def _give(self, number: int, record: ToolCall) -> None:
        id = self.id(number)
        if id not in _told_to(record):
            record["answered"] = [*record.get("answered", ()), id]
            self._given[id, call_digest(record["key"])] = record
        self._met |= {id, record["id"]}
        self._made.append(record["id"])

    def _before(self, number: int, digest: str) -> ToolCall | None:
        """What answered a call when this program ran before, unless that has answered another one by now."""
        id = self.id(number)
        record = None if id in self._met else self._given.get((id, digest))
        return None if record is not None and record["effect"] != "read" and record["id"] in self._met else record

    def _fresh_read(self, key: str) -> ToolCall | None:
        record = self._reads.get(call_digest(key))
        return record if record is not None and self._is_fresh(record) else None

    def _is_fresh(self, record: ToolCall) -> bool:
        """Whether nothing can have changed since something was read. What was cut off may do so at any time."""
        return not self._doubts and record["started"] > self._last_effect

    def may_repeat(self, record: ToolCall) -> bool:
        """Whether a call that was made before may be made again without knowing what came of it.

        One with an effect that was cut off may not: it may have taken effect. An idempotent one may, as long as nothing
        that happened since would be undone: what later calls did that are not made again.
        """
        if record["effect"] == "read" or record["status"] not in ("unknown", "started"):
            return True
        return (
            record["effect"] == "idempotent"
            and "edited" not in record
            and (
                record["id"] in self._met
                or all(
                    each["effect"] == "read" or _end(each) <= record["started"]
                    for each in self._records
                    if each is not record
                )
            )
        )

    def id(self, number: int) -> str:
        """Id of the attempt's call with this number."""
        return f"{self._attempt}.{number}"

    def idempotency_key(self, key: str, arguments: Mapping[str, Any]) -> str:
        """What a tool may know a call by: the same whenever the call is made, with the same arguments, in this run."""
        return str(uuid.uuid5(_NAMESPACE, f"{self._run_id}\0{key}\0{canonical(arguments)}"))

    def before(self, number: int, key: str) -> ToolCall | None:
        """The record of a call that is made now: its own, where this program ran before, else the newest of its key."""
        return self._before(number, call_digest(key)) or self._latest.get(key)

    def latest(self, key: str) -> ToolCall | None:
        """The newest record of a key."""
        return self._latest.get(key)

    def count(self, tool: str) -> int:
        """Calls of a tool in this run that really ran, or were begun."""
        return self._counts[tool]

    def start(
        self,
        number: int,
        tool: str,
        arguments: dict[str, Any],
        *,
        key: str,
        effect: Effect,
        line: int | None,
        decision: str | None = None,
        answers: list[Any] | None = None,
        asks: Question | None = None,
        idempotency_key: str | None = None,
        edited: str | None = None,
        doubtful: bool = False,
    ) -> ToolCall:
        """Record that a tool is about to be called. Its status is *started* until `finish`.

        Args:
            number: The call's, within the attempt.
            tool: The tool's name.
            arguments: As they may be shown.
            key: The call's key.
            effect: What a call of the tool does.
            line: The program's line.
            decision: Key of the decision under which it is made.
            answers: What the tool is told when it asks, in order.
            asks: What it asked last, which the last of the answers is for.
            idempotency_key: What the tool is given to know the call by.
            edited: Key of the decision that changed its arguments.
            doubtful: It was cut off when it was made before.
        """
        record = ToolCall(
            id=self.id(number),
            attempt=self._attempt,
            tool=tool,
            arguments=arguments,
            key=key,
            effect=effect,
            status="started",
            value=None,
            error=None,
            line=line,
            started=max(time.time(), self._newest + 1e-6),  # clocks of other hosts may be ahead
            seconds=0.0,
        )
        if decision is not None:
            record["decision"] = decision
        if answers:
            record["answers"] = answers
        if asks is not None:
            record["asks"] = asks
        if idempotency_key is not None:
            record["idempotency_key"] = idempotency_key
        if edited is not None:
            record["edited"] = edited
        if doubtful:
            record["doubtful"] = True
        self._put(record)
        self._met.add(record["id"])
        self._made.append(record["id"])
        return record

    def finish(
        self, record: ToolCall, status: ToolCallStatus, *, value: Any = None, error: ToolError | None = None
    ) -> None:
        """Record how a call ended."""
        self._count(record, -1)
        record["status"], record["value"], record["error"] = status, value, error
        record["seconds"] = max(0.0, time.time() - record["started"])
        self._count(record, 1)
        self._ended(record)

    def interrupt(self, record: ToolCall, asks: Question, answers: list[Any]) -> None:
        """Record that a tool asks something, having been given these answers to what it asked before."""
        self.finish(record, "interrupted")
        record["asks"], record["answers"] = asks, answers

    async def recover(self) -> None:
        """Take over what a killed process left in the store: calls that the state does not know, or not so far."""
        if newer := await self._store.newer(self._records):
            merged = {identity(record): record for record in (*self._records, *newer)}
            self._read(sorted(merged.values(), key=lambda record: record["started"]))

    async def write(self, record: ToolCall) -> None:
        """Store how far a call with an effect has got: before it is made, and when it has ended."""
        await self._store.write(record)


def _end(record: ToolCall) -> float:
    return record["started"] + record["seconds"]


def _told_to(record: ToolCall) -> tuple[str, ...]:
    """Ids of the calls that were answered with it."""
    return record["id"], *record.get("answered", ())
