"""The journal: one append-only list of events for each run, and where it is kept.

What happened to the calls of a run is in its events and nowhere else; `view` folds them, `decide` reads the fold. Events
are appended, never changed. `Journal.append` names the number of events that it expects, and fails where anybody has
appended since: that is the fence that keeps two executors of a run from making a call twice.
"""

import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, runtime_checkable

from codemode_graph.calls.log import Closed, Event, Opened
from codemode_graph.errors import JournalError

__all__ = ["Conflict", "Journal", "JournalError", "MemoryJournal", "RunInfo", "describe", "hash_of"]


class Conflict(JournalError):
    """Somebody else has appended to the run since it was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """One run of a journal, as a list of runs shows it.

    Attributes:
        run: Its id.
        thread: The thread of the graph.
        namespace: Where in a larger graph it runs, without ids of tasks; `place` is with them, `parent` the checkpoint there,
            and `places` are those before, of attempts of a node around it.
        digest: Of its input.
        task: What was to be done, shortened.
        server_run: LangGraph Server's own run.
        opened: When it began, in seconds since the epoch.
        closed: How it ended; None while it is open. A run in a larger graph stays open until its input comes again, after the
            larger graph has kept its result.
        length: The number of its events.
    """

    run: str
    thread: str = ""
    namespace: str = ""
    place: str = ""
    places: tuple[str, ...] = ()
    parent: str = ""
    digest: str = ""
    task: str = ""
    server_run: str | None = None
    opened: float = 0.0
    closed: str | None = None
    length: int = 0

    @classmethod
    def of_json(cls, text: str, **fields: Any) -> Self:
        """Return the run in a JSON text, with these fields beside; what a later version shows more is left out."""
        known = cls.__dataclass_fields__
        shown = {name: value for name, value in json.loads(text).items() if name in known}
        return cls(**shown | fields | {"places": tuple(shown.get("places", ()))})

    @property
    def rank(self) -> tuple[float, str]:
        """By when it was opened, then by id. A list of runs has the highest first."""
        return self.opened, self.run


@runtime_checkable
class Journal(Protocol):
    """Keeps the events of runs. Safe for many runs, tasks, threads and event loops at once.

    Attributes:
        durable: Whether it outlives the process.
        fenced: Whether `append` fails for all but one of those who append at the same time.
    """

    durable: bool
    fenced: bool

    async def append(self, run: str, expected: int, events: Sequence[Event]) -> int:
        """Append events to a run, all or none.

        Args:
            run: The run's id.
            expected: The number of events that the run has, as far as the caller knows.
            events: At least one.

        Returns:
            The number of events that the run has now. On return they are as durable as the journal is.

        Raises:
            Conflict: The run has another number of events.
            JournalError: They cannot be written.
        """
        ...

    async def read(self, run: str, after: int = 0) -> list[Event]:
        """Return the events of a run that follow the first `after`; none where there is no such run."""
        ...

    async def find(self, thread: str, namespace: str, digest: str) -> list[RunInfo]:
        """Return the runs of one input of a thread that are not closed, in the order in which they were opened."""
        ...

    async def runs(self, *, before: RunInfo | None = None, limit: int = 100) -> list[RunInfo]:
        """Return runs, the newest first; of those that were opened at one time, by id.

        Args:
            before: Only runs that come after this one in that order: the last one of a page gives the next page.
            limit: The most runs.
        """
        ...

    async def keep(self, run: str, text: str) -> str:
        """Keep a large value of a run, and return its hash."""
        ...

    async def load(self, run: str, hash: str) -> str:
        """Return a value that was kept.

        Raises:
            KeyError: The run has no such value.
        """
        ...

    async def delete(self, run: str) -> None:
        """Remove a run, its events and its values."""
        ...

    async def aclose(self) -> None:
        """Free what the journal holds. It can be used again after."""
        ...


_OF_OPENED = ("thread", "namespace", "place", "parent", "digest", "task", "server_run")


def hash_of(text: str) -> str:
    """Return the name under which a value is kept."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def describe(run: str, events: Iterable[Event], known: RunInfo | None = None) -> RunInfo:
    """Return what a list of runs shows of a run, after these events."""
    events = list(events)
    info = known or RunInfo(run=run)
    info = replace(info, length=info.length + len(events))
    for event in events:
        if isinstance(event, Opened):
            places = (*info.places, info.place) if info.opened and info.place != event.place else info.places
            fields = {name: getattr(event, name) for name in _OF_OPENED}
            info = replace(info, opened=event.now, places=places, **fields)
        elif isinstance(event, Closed):
            info = replace(info, closed=event.how)
    return info


# A server's runs would otherwise be collected for as long as it lives.
_MOST_RETIRED = 16
_MOST_FINISHED = 256


def _input(info: RunInfo) -> tuple[str, str, str]:
    return info.thread, info.namespace, info.digest


class MemoryJournal:
    """A journal in this process's memory. It is gone when the process ends, and promises nothing beyond that."""

    durable, fenced = False, True

    def __init__(self) -> None:
        self._lock = threading.Lock()  # graphs run in several event loops, each in a thread
        self._runs: dict[str, list[Event]] = {}
        self._infos: dict[str, RunInfo] = {}
        # The open runs of each input, in the order of opening: a look through all would take longer with each run that waits.
        self._open: dict[tuple[str, str, str], dict[str, None]] = {}
        self._values: dict[tuple[str, str], str] = {}
        self._notes: dict[str, dict[str, str]] = {}
        self._retired: deque[str] = deque()
        self._finished: deque[str] = deque()

    async def append(self, run: str, expected: int, events: Sequence[Event]) -> int:
        """Append events to a run. See `Journal.append`."""
        with self._lock:
            log = self._runs.setdefault(run, [])
            if len(log) != expected:
                raise Conflict(f"run {run} has {len(log)} events, not {expected}")
            log.extend(events)
            before = self._infos.get(run)
            self._infos[run] = info = describe(run, events, before)
            if before is not None and (_input(before) != _input(info) or info.closed is not None):
                self._forget(before)
            if info.closed is None:
                self._open.setdefault(_input(info), {})[run] = None
            return len(log)

    def _forget(self, info: RunInfo) -> None:
        runs = self._open.get(_input(info), {})
        runs.pop(info.run, None)
        if not runs:
            self._open.pop(_input(info), None)

    async def read(self, run: str, after: int = 0) -> list[Event]:
        """Return events of a run. See `Journal.read`."""
        return self._runs.get(run, [])[after:]

    async def find(self, thread: str, namespace: str, digest: str) -> list[RunInfo]:
        """Return the open runs of one input. See `Journal.find`."""
        with self._lock:
            return [self._infos[run] for run in self._open.get((thread, namespace, digest), ())]

    async def runs(self, *, before: RunInfo | None = None, limit: int = 100) -> list[RunInfo]:
        """Return runs, the newest first. See `Journal.runs`."""
        infos = sorted(self._infos.values(), key=lambda info: info.rank, reverse=True)
        return [info for info in infos if before is None or info.rank < before.rank][:limit]

    async def keep(self, run: str, text: str) -> str:
        """Keep a large value. See `Journal.keep`."""
        hash = hash_of(text)
        self._values[run, hash] = text
        return hash

    async def load(self, run: str, hash: str) -> str:
        """Return a value. See `Journal.load`."""
        return self._values[run, hash]

    async def delete(self, run: str) -> None:
        """Remove a run. See `Journal.delete`."""
        with self._lock:
            self._runs.pop(run, None)
            if (info := self._infos.pop(run, None)) is not None:
                self._forget(info)
        for key in [key for key in list(self._values) if key[0] == run]:
            del self._values[key]

    async def notes(self, topic: str) -> dict[str, str]:
        """Return the texts of a topic. See `Notes.notes`."""
        with self._lock:
            return dict(self._notes.get(topic, {}))

    async def note(self, topic: str, key: str, text: str | None) -> None:
        """Keep a text, or remove it. See `Notes.note`."""
        with self._lock:
            if text is None:
                self._notes.get(topic, {}).pop(key, None)
            else:
                self._notes.setdefault(topic, {})[key] = text

    async def retire(self, run: str) -> None:
        """Remove a run to which nothing can come back, but for its values: an agent's next program may repair its last.

        Of the runs that ended so, the newest few keep their values.
        """
        self._runs.pop(run, None)
        self._infos.pop(run, None)
        self._retired.append(run)
        while len(self._retired) > _MOST_RETIRED:
            await self.delete(self._retired.popleft())

    async def finish(self, run: str) -> None:
        """Note that a run has its result, which a larger graph may fail to keep. Keep the newest few of such runs."""
        if run not in self._finished:
            self._finished.append(run)
        while len(self._finished) > _MOST_FINISHED:
            await self.delete(self._finished.popleft())

    async def aclose(self) -> None:
        """Do nothing: memory is freed with the journal."""
