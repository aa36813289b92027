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
from langgraph.store.base import BaseStore

from codemode_graph.state import ToolCall, ToolCallStatus, ToolError
from codemode_graph.tools.spec import Effect

__all__ = ["Journal", "canonical"]


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
        self._records = records
        self._latest = {record["key"]: record for record in self._records}
        self._occurrences: Counter[str] = Counter()
        self._last_effect = max((_end(r) for r in self._records if r["effect"] != "read"), default=0.0)
        self._made: list[str] = []

    @property
    def records(self) -> list[ToolCall]:
        """Every record, oldest first."""
        return self._records

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

        Args:
            key: The call's key.
            cached: Take an earlier identical read for it too, as long as nothing has changed since.
        """
        record = self._latest.get(key)
        if record is None and cached:
            record = self._fresh_read(key)
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
        digest = key.partition("#")[2].partition(":")[2]
        same = [r for r in self._records if r["key"].endswith(f":{digest}") and r["effect"] == "read"]
        fresh = [r for r in same if r["status"] == "done" and r["started"] > self._last_effect]
        return fresh[-1] if fresh else None

    def id(self, number: int) -> str:
        """Id of the attempt's call with this number."""
        return f"{self._attempt}.{number}"

    def latest(self, key: str) -> ToolCall:
        """The newest record of a key."""
        return self._latest[key]

    def is_unknown(self, key: str) -> bool:
        """Whether a call with an effect was cut off, so that it may have taken effect."""
        record = self._latest.get(key)
        return record is not None and record["effect"] != "read" and record["status"] in ("unknown", "started")

    def count(self, tool: str) -> int:
        """Calls of a tool in this run that really ran, or were begun."""
        return sum(record["tool"] == tool and record["status"] != "denied" for record in self._records)

    def start(
        self, number: int, tool: str, arguments: dict[str, Any], *, key: str, effect: Effect, line: int | None
    ) -> ToolCall:
        """Record that a tool is about to be called. Its status is *started* until `finish`."""
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
        before = self._latest.get(key)
        if before is not None and before["id"] == record["id"]:
            self._records[self._records.index(before)] = record
        else:
            self._records.append(record)
        self._latest[key] = record
        self._made.append(record["id"])
        return record

    def finish(
        self, record: ToolCall, status: ToolCallStatus, *, value: Any = None, error: ToolError | None = None
    ) -> None:
        """Record how a call ended."""
        record["status"], record["value"], record["error"] = status, value, error
        record["seconds"] = time.time() - record["started"]
        if record["effect"] != "read":
            self._last_effect = max(self._last_effect, _end(record))

    async def recover(self) -> None:
        """Take over the records that a killed process left in the store."""
        if self._store is None:
            return
        known = {record["id"] for record in self._records}
        items = await self._store.asearch(self._namespace, limit=100_000)
        left = [ToolCall(**item.value) for item in items if item.key not in known]  # type: ignore[typeddict-item]
        self._read(sorted([*self._records, *left], key=lambda record: record["started"]))

    async def write(self, record: ToolCall) -> None:
        """Store how far a call with an effect has got: before it is made, and when it has ended."""
        if self._store is not None and record["effect"] != "read":
            await self._store.aput(self._namespace, record["id"], dict(record), index=False)


def _end(record: ToolCall) -> float:
    return record["started"] + record["seconds"]
