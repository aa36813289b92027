"""The one executor of a run: it writes the run's journal, and holds a lease while it drives the program."""

import asyncio
import os
import platform
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from codemode_graph.calls.journal import Conflict, Journal, JournalError
from codemode_graph.calls.log import Attached, Decided, Ended, Event, Renewed, SessionEnd, Unknown
from codemode_graph.calls.view import View

LEASE = 30.0
"""Seconds for which an executor that says nothing is taken to be alive."""

# Seconds between two looks at a run that another executor drives: the first, and the longest.
_POLL = (0.02, 0.5)


class SessionLost(JournalError):
    """Another executor drives the run now: this one calls nothing more, and goes on from what is recorded."""


class RunLog:
    """A run's journal with the fold of it, and the events that are not yet appended.

    Events that no promise needs yet wait in a buffer, so that reads cost no append: `flush` appends them together.

    Args:
        journal: Where the run is kept.
        run: Its id.
    """

    def __init__(self, journal: Journal, run: str) -> None:
        self.journal, self.run = journal, run
        self.view = View()
        self._appended = 0
        self._buffer: list[Event] = []
        self._turn = asyncio.Lock()

    async def read(self) -> None:
        """Take in what the journal has.

        Raises:
            SessionLost: Others have appended while events of this executor still wait: it has to begin again with theirs.
            JournalError: It cannot be read.
        """
        others = await self.journal.read(self.run, self._appended)
        if others and self._buffer:
            # Appended behind theirs, a second beginning of the run would give it another program, another seed, other calls.
            raise SessionLost(f"another executor has begun run {self.run}")
        for event in others:
            self.view.apply(event)
            self._appended += 1

    def add(self, *events: Event) -> None:
        """Take events in, to be appended with the next flush."""
        for event in events:
            self.view.apply(event)
        self._buffer += events

    async def flush(self) -> None:
        """Append what waits. On return it is as durable as the journal is.

        Raises:
            SessionLost: Another executor has attached.
            JournalError: It cannot be written.
        """
        async with self._turn:  # one writer: appends of calls that end together queue here
            while self._buffer:
                batch = list(self._buffer)
                try:
                    self._appended = await self.journal.append(self.run, self._appended, batch)
                except Conflict:
                    await self._take_in_others()
                else:
                    del self._buffer[: len(batch)]

    async def _take_in_others(self) -> None:
        """Take in what others appended: answers of people and the like are no reason to stop, another executor is."""
        others = await self.journal.read(self.run, self._appended)
        if not others and self._appended and not await self.journal.read(self.run):
            # To begin it again would make its calls again.
            raise JournalError(f"run {self.run} was deleted while it was driven")
        if others == self._buffer[: len(others)]:
            # An append whose caller was cancelled, or whose answer was lost, has taken place after all.
            self._appended += len(others)
            del self._buffer[: len(others)]
            return
        for event in others:
            if isinstance(event, Decided):
                self.view.apply(event)
            elif not isinstance(event, Renewed):
                raise SessionLost(f"another executor has gone on with run {self.run}")
        self._appended += len(others)
        # The first answer to a question is the answer: one that came at the same time is dropped.
        answered = {event.question for event in others if isinstance(event, Decided)}
        for event in others:
            if isinstance(event, Decided):
                self.view.decisions[event.question] = event.decision
        self._buffer = [e for e in self._buffer if not (isinstance(e, Decided) and e.question in answered)]


class Session:
    """Drives one program of a run, alone.

    Attributes:
        log: The run's journal.
        number: The session's number in the run; a restart goes on with that of the session that stopped.
        restart: Whether it goes on with a session whose process died, or that waited for people.
        retells: Whether the program has ended well, and only its end was lost.
    """

    def __init__(self, log: RunLog, number: int, *, owner: str, restart: bool, retells: bool = False) -> None:
        self.log, self.number, self.restart, self.retells = log, number, restart, retells
        self._owner = owner
        self._began = time.monotonic()
        self._holds_until = 0.0

    @classmethod
    async def attach(cls, log: RunLog, attempt: int, digest: str, *, is_fork: bool = False) -> "Session":
        """Become the executor of a run, once nobody else is.

        Waits while another executor is alive. Calls that a dead one had started are unknown from then on.

        Args:
            log: The run's journal.
            attempt: The attempt whose program is driven.
            digest: Of the program.
            is_fork: It goes on from a checkpoint that a caller named.

        Raises:
            SessionLost: Another executor has begun the run, and this one has events of its own that are not appended.
            JournalError: The journal cannot be read.
        """
        await log.read()
        me = await _this_process()
        pause, length, since = _POLL[0], log.view.length, time.monotonic()
        while log.view.owner is not None and not await is_over(log.view.owner, log.view.until):
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _POLL[1])
            await log.read()
            if log.view.length != length:
                length, since = log.view.length, time.monotonic()
            # Whoever is silent for as long as a lease lasts holds none, whatever clock says until when it does: clocks are
            # set, and those of two machines differ.
            elif time.monotonic() - since > LEASE:
                break
        view = log.view
        number = _restarted(view, attempt, digest, is_fork)
        owner = f"{me}/{uuid.uuid4().hex[:8]}"
        retells = number is not None and view.sessions[number].how == "finished"
        number, restart = number or max(view.sessions, default=0) + 1, number is not None
        session = cls(log, number, owner=owner, restart=restart, retells=retells)
        now = time.time()
        # Their executor is gone, and with it the only one who could say how they ended.
        for record in view.doubts():
            log.add(Unknown(call=record.index, time=now))
        session._take_lease(now)
        _driving.add(owner)
        log.add(
            Attached(
                session=session.number,
                attempt=attempt,
                digest=digest,
                owner=session._owner,
                until=now + LEASE,
                time=now,
            )
        )
        return session

    @property
    def view(self) -> View:
        """The journal of the run, folded."""
        return self.log.view

    async def renew(self) -> None:
        """Keep the lease as long as this runs, which is while tools are called.

        Raises:
            SessionLost: Another executor has attached.
        """
        while True:
            await asyncio.sleep(LEASE / 3)
            now = time.time()
            self.log.add(Renewed(owner=self._owner, until=now + LEASE))
            await self.log.flush()
            self._take_lease(now)

    def hold(self) -> None:
        """Make sure that the lease has not run out, directly before a call.

        Raises:
            SessionLost: It has run out: another executor may drive the run.
        """
        if time.monotonic() > self._holds_until:
            raise SessionLost(f"run {self.log.run} was not driven for {LEASE:g} seconds, so its lease has run out")

    def _take_lease(self, now: float) -> None:
        # Counted from before the append, on a clock that nobody sets.
        self._holds_until = time.monotonic() + LEASE - max(0.0, time.time() - now)

    async def end(self, how: SessionEnd) -> None:
        """Record the end and release the lease, so that another executor may go on. A lost session has nothing to release.

        Raises:
            JournalError: It cannot be written.
        """
        self.note_end(how)
        try:
            with suppress(SessionLost):
                await self.log.flush()
        finally:
            self.leave()

    def note_end(self, how: SessionEnd) -> None:
        """Add the event that the session is over, to be appended with the next flush."""
        self.log.add(Ended(session=self.number, how=how, spent=time.monotonic() - self._began))

    def leave(self) -> None:
        """Drive the run no more. Once the end is recorded or cannot be, nobody in this process waits for the lease."""
        _driving.discard(self._owner)

    @property
    def spent(self) -> float:
        """Seconds that the program has taken before, in the sessions that this one goes on with."""
        known = self.view.sessions[self.number]
        return max(known.spent, known.frames[-1].clock if known.frames else 0.0)


def _restarted(view: View, attempt: int, digest: str, is_fork: bool) -> int | None:
    """Return the number of the session that an executor goes on with, frame by frame; None where it begins one.

    It goes on with one that stopped midway or waits. One that has ended is told again to whom the end was lost: to the second
    of two that answer the same question, and after a kill between the end and its checkpoint. Forks, and what follows a
    cancellation, are judged call by call: there what failed is made again, and what was undone.
    """
    # A session of this attempt or an earlier one that came after it is a fork: from there on another way was taken.
    number = max((number for number, known in view.sessions.items() if known.attempt <= attempt), default=0)
    known = view.sessions.get(number)
    if known is None or (known.attempt, known.digest) != (attempt, digest):
        return None
    return number if known.how in (None, "waiting") or (known.how != "cancelled" and not is_fork) else None


async def is_over(holder: str, until: float) -> bool:
    """Tell whether an executor on this machine or its process is gone, or the lease of one elsewhere has run out."""
    place, pid, born, _ = _parts(holder)
    me = await _this_process()
    if holder.rpartition("/")[0] == me:
        return holder not in _driving
    if place == me.rsplit("/", 2)[0]:
        # Whether a process lives is in files, and reading those may block the event loop. The time says nothing here: where
        # somebody sets the clock forward, every lease of this machine has run out by it, and its holder still works.
        return await asyncio.to_thread(_born, int(pid)) != born
    return time.time() > until


async def _this_process() -> str:
    """Return the name of this process: where it runs, its id, and when it began. A fork is another process."""
    pid = os.getpid()
    if pid not in _processes:
        _processes[pid] = await asyncio.to_thread(lambda: f"{_place()}/{pid}/{_born(pid)}")
    return _processes[pid]


_processes: dict[int, str] = {}
_driving: set[str] = set()
"""The executors of this process that drive a run."""


def _parts(holder: str) -> Sequence[str]:
    parts = holder.rsplit("/", 3)
    return parts if len(parts) == 4 and parts[1].isdigit() else ("", "0", "", "")


@cache
def _place() -> str:
    """Return what tells apart places with process ids of their own: hosts, boots of a host, containers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()}-{boot}-{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116  # a link to no file
    except OSError:  # no /proc: leases run out by time alone
        return f"{platform.node()}-{uuid.uuid4().hex}"


def _born(pid: int) -> str:
    """Return when a process began, as the kernel counts it: a process id alone may be that of another process by now.

    A process that is gone has no beginning: "".
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # One that was killed stays in the table, as a zombie, until its parent asks for it, which may take any time.
    return "" if fields[0] in "ZX" else fields[19]
