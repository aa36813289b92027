"""The journal: what has been called, and what a repeated call is answered.

A call is known by its key: the tool, its canonical arguments, and its occurrence, the n-th time that this program makes
it. Every attempt starts counting anew, so the first identical call of a repaired program meets the first record. A
program that takes another path simply makes calls that are not in the journal.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from codemode_sandboxes import Outcome, Raised, Returned
from langgraph.store.base import BaseStore, Item

from codemode_graph.state import Question, StateUpdate, ToolCall, ToolCallStatus, ToolError
from codemode_graph.tools.spec import Effect

__all__ = ["Journal", "canonical", "is_unknown"]

_PAGE = 1000


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
        self._attempt, self._store, self._namespace = attempt, store, ("codemode", "journal", run_id)
        self._read([record.copy() for record in records])

    def _read(self, records: list[ToolCall]) -> None:
        self._records: list[ToolCall] = []
        self._places: dict[tuple[str, str], int] = {}
        self._latest: dict[str, ToolCall] = {}
        self._reads: dict[str, ToolCall] = {}
        self._counts: Counter[str] = Counter()
        self._occurrences: Counter[str] = Counter()
        self._last_effect = 0.0
        self._made: list[str] = []
        for record in records:
            self._put(record)
            self._ended(record)

    def _put(self, record: ToolCall) -> None:
        """Add a record, in place of an earlier one of the same call.

        A program that goes another way when it is started again may give a number to another call: that replaces nothing.
        """
        place = self._places.setdefault(_identity(record), len(self._records))
        if place < len(self._records):
            self._count(self._records[place], -1)
            self._records[place] = record
        else:
            self._records.append(record)
        self._count(record, 1)
        self._latest |= dict.fromkeys((record["key"], *record.get("repeats", ())), record)

    def _ended(self, record: ToolCall) -> None:
        if record["effect"] != "read":
            self._last_effect = max(self._last_effect, _end(record))
        elif record["status"] == "done":
            self._reads[_digest(record["key"])] = record

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

    def key(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Key of the call that the program makes now. Counts it: ask once a call."""
        text = f"{tool}\0{canonical(arguments)}"
        self._occurrences[text] += 1
        digest = hashlib.sha256(text.encode()).hexdigest()[:20]
        return f"{tool}#{self._occurrences[text]}:{digest}"

    def answer(self, key: str, *, cached: bool = False) -> tuple[ToolCall, Outcome] | None:
        """The recorded answer to a call, or None where the tool has to be called.

        * Recorded in this attempt, whose program has been started again: whatever it was answered then.
        * *done*, with an effect: answered, never repeated.
        * *done*, a read: answered, unless a call with an effect ended since; an old answer must not hide a change.
        * *denied*: denied again; nobody is asked twice.
        * *failed*, and reads in any other status: called again.
        * *unknown* or still *started*, with an effect: None as well; `is_unknown` tells it, and it must not be run blindly.
        * *interrupted*: None; the tool is started again when it is answered.

        Args:
            key: The call's key.
            cached: Take an earlier identical read for it too, as long as nothing has changed since.
        """
        record = self._latest.get(key)
        if record is None and cached:
            record = self._fresh_read(key)
            if record is not None:
                # The same program, started again, has to be answered the same, whatever has changed meanwhile.
                record["repeats"] = [*record.get("repeats", ()), key]
                self._latest[key] = record
        if record is None:
            return None
        replayed = self._attempt in (record["attempt"], *record.get("answered", ()))
        outcome: Outcome
        if record["error"] is not None and (replayed or record["status"] in ("denied", "done")):
            outcome = Raised(record["error"]["type"], record["error"]["message"])
        elif record["status"] == "done" and (
            replayed or record["effect"] != "read" or record["started"] > self._last_effect
        ):
            outcome = Returned(record["value"])
        else:
            return None
        if not replayed:
            record["answered"] = [*record.get("answered", ()), self._attempt]
        self._made.append(record["id"])
        return record, outcome

    def _fresh_read(self, key: str) -> ToolCall | None:
        record = self._reads.get(_digest(key))
        return record if record is not None and record["started"] > self._last_effect else None

    def id(self, number: int) -> str:
        """Id of the attempt's call with this number."""
        return f"{self._attempt}.{number}"

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
            started=time.time(),
            seconds=0.0,
        )
        if decision is not None:
            record["decision"] = decision
        if answers:
            record["answers"] = answers
        if asks is not None:
            record["asks"] = asks
        self._put(record)
        self._made.append(record["id"])
        return record

    def finish(
        self, record: ToolCall, status: ToolCallStatus, *, value: Any = None, error: ToolError | None = None
    ) -> None:
        """Record how a call ended."""
        self._count(record, -1)
        record["status"], record["value"], record["error"] = status, value, error
        record["seconds"] = time.time() - record["started"]
        self._count(record, 1)
        self._ended(record)

    def interrupt(self, record: ToolCall, asks: Question, answers: list[Any]) -> None:
        """Record that a tool asks something, having been given these answers to what it asked before."""
        self.finish(record, "interrupted")
        record["asks"], record["answers"] = asks, answers

    async def recover(self) -> None:
        """Take over what a killed process left in the store: calls that the state does not know, or not so far."""
        known = {_identity(record): record for record in self._records}
        found = [ToolCall(**item.value) for item in await self._stored()]  # type: ignore[typeddict-item]
        for record in sorted(found, key=lambda record: record["started"]):
            if _identity(record) not in known or _precedes(known[_identity(record)], record):
                self._put(record)
                self._ended(record)

    async def write(self, record: ToolCall) -> None:
        """Store how far a call with an effect has got: before it is made, and when it has ended."""
        if self._store is not None and record["effect"] != "read":
            await self._store.aput(self._namespace, " ".join(_identity(record)), dict(record), index=False)

    async def _stored(self) -> list[Item]:
        found: list[Item] = []
        if self._store is not None:
            while page := await self._store.asearch(self._namespace, limit=_PAGE, offset=len(found)):
                found += page
                if len(page) < _PAGE:
                    break
        return found


def is_unknown(record: ToolCall | None) -> bool:
    """Whether a call with an effect was cut off, so that it may have taken effect."""
    return record is not None and record["effect"] != "read" and record["status"] in ("unknown", "started")


def _identity(record: ToolCall) -> tuple[str, str]:
    return record["id"], record["key"]


def _precedes(known: ToolCall, found: ToolCall) -> bool:
    """Whether a call went on, or was begun anew, after the first of these records of it was kept."""
    if known["started"] == found["started"]:
        return known["status"] == "started"
    return known["started"] < found["started"]


def _end(record: ToolCall) -> float:
    return record["started"] + record["seconds"]


def _digest(key: str) -> str:
    return key.rpartition(":")[2]
