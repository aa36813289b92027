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
    """

    def __init__(self, records: Iterable[ToolCall] = (), *, attempt: int = 1) -> None:
        self._attempt = attempt
        self._records: list[ToolCall] = [record.copy() for record in records]
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

    def answer(self, key: str) -> tuple[ToolCall, Outcome] | None:
        """The recorded answer to a call, or None where the tool has to be called.

        * *done*, with an effect: answered, never repeated.
        * *done*, a read: answered, unless a call with an effect ended since; an old answer must not hide a change.
        * *unknown* or still *started*, with an effect: a `RuntimeError` in the program; it is never run again blindly.
        * *failed*, and reads in any other status: called again.
        """
        record = self._latest.get(key)
        if record is None:
            return None
        effect = record["effect"] != "read"
        outcome: Outcome
        if record["status"] == "done" and (effect or record["started"] > self._last_effect):
            outcome = Returned(record["value"])
        elif effect and record["status"] in ("unknown", "started"):
            outcome = Raised("RuntimeError", unknown_outcome(record["tool"]))
        else:
            return None
        record.setdefault("answered", []).append(self._attempt)
        self._made.append(record["id"])
        return record, outcome

    def start(
        self, number: int, tool: str, arguments: dict[str, Any], *, key: str, effect: Effect, line: int | None
    ) -> ToolCall:
        """Record that a tool is about to be called. Its status is *started* until `finish`."""
        record = ToolCall(
            id=f"{self._attempt}.{number}",
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
        self._records.append(record)
        self._latest[key] = record
        self._made.append(record["id"])
        return record

    def finish(
        self, record: ToolCall, status: ToolCallStatus, *, value: Any = None, error: ToolError | None = None
    ) -> None:
        """Record how a call ended."""
        record.update(status=status, value=value, error=error, seconds=time.time() - record["started"])
        if record["effect"] != "read":
            self._last_effect = max(self._last_effect, _end(record))


def unknown_outcome(tool: str) -> str:
    """What a program and a model are told of a call whose effect cannot be known."""
    return f"an earlier call of {tool!r} with these arguments was cut off and may have taken effect; it is not repeated"


def _end(record: ToolCall) -> float:
    return record["started"] + record["seconds"]
