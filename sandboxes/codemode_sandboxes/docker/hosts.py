"""The Docker daemons of a sandbox: the one with the fewest guests starts the next, and one that is gone is left out."""

import os
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from codemode_sandboxes.docker.facts import DaemonFacts, DaemonProblem
from codemode_sandboxes.docker.host import Guest, Host, Wanted

__all__ = ["Hosts"]

_AT_ONCE = 4

T = TypeVar("T")


class Hosts:
    """All daemons of a sandbox, and the threads that wait for them.

    Args:
        addresses: Theirs.
        wanted: What guests are to be.
    """

    def __init__(self, addresses: Sequence[str], wanted: Wanted) -> None:
        most = _AT_ONCE * len(addresses)
        self.most_starting = 2 * most
        self._starts = ThreadPoolExecutor(most, "codemode-docker-start")
        self._ends = ThreadPoolExecutor(most, "codemode-docker-end")
        self._hosts = [Host(address, wanted, self._ends) for address in addresses]
        self._remedies: dict[str, str] = {}
        self._owner = os.getpid()
        self._at_end = weakref.finalize(self, _close, self._hosts, (self._starts, self._ends), self._owner)

    @property
    def alive(self) -> bool:
        """Whether it can be used: not closed, and not in a fork of the process that made it."""
        return self._at_end.alive and self._owner == os.getpid()

    def facts(self) -> DaemonFacts:
        """What the first daemon that can be used says of itself. Waits.

        Raises:
            DaemonProblem: None can be used.
        """
        return self._first(lambda host: host.facts)

    def start(self, memory_bytes: int) -> "Future[Guest]":
        """Start a guest where there are fewest, on a daemon that answers.

        The future raises `DaemonProblem` where none can be used.
        """
        return self._starts.submit(lambda: self._first(lambda host: host.start(memory_bytes)))

    def _first(self, work: Callable[[Host], T]) -> T:
        now = time.monotonic()
        problems: list[DaemonProblem] = []
        for host in sorted(self._hosts, key=lambda host: (max(host.down_until - now, 0.0), host.load)):
            try:
                return work(host)
            except DaemonProblem as problem:
                problems.append(problem)
        reason = "; ".join(problem.reason for problem in problems)
        self._remedies[reason] = "; ".join(dict.fromkeys(problem.remedy for problem in problems if problem.remedy))
        raise DaemonProblem(reason, self._remedies[reason])

    def remedy(self, reason: str) -> str:
        """What mends a problem that was met, given its message."""
        return self._remedies.get(reason, "")

    def close(self) -> None:
        """Remove everything, and end the threads. Waits. May be called again."""
        self._at_end()


def _close(hosts: list[Host], executors: tuple[ThreadPoolExecutor, ...], owner: int) -> None:
    if os.getpid() != owner:  # a fork: the guests are its parent's
        return
    for executor in executors:
        executor.shutdown()
    for host in hosts:
        host.remove_all()
        host.close()
