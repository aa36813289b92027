"""The actor: it hosts guests of one sandbox on a machine of the cluster. All of this file runs there."""

import asyncio
import os
import pickle
import platform
from collections import deque
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from codemode_sandboxes.contract import Blocked, Capabilities, Event, Execution, Limits, Outcome, Program, Sandbox
from codemode_sandboxes.errors import SandboxError, SandboxUnavailable
from codemode_sandboxes.registry import create_sandbox

__all__ = ["Fault", "HostActor", "Offer", "Refusal", "package_version"]

_TURNS = 3  # of the event loop, before answers leave
_EXIT_SECONDS = 5.0
_EARLY_ENDS = 1000  # ends of runs that overtook their beginnings; a beginning is never so far behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A host that is ready.

    Attributes:
        version: The version of this package there.
        node: The name of the machine.
        pid: The actor's process.
        capabilities: What the sandbox offers there.
    """

    version: str
    node: str
    pid: int
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class Refusal:
    """The sandbox cannot run on that machine: what is missing there, and what makes it available."""

    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error of the sandbox's own in a run, in one line. As an object it might not come back whole."""

    message: str


@dataclass(slots=True)
class _Box:
    """The answers for one event loop of the caller, and how many are still to come."""

    open: int = 0
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    waiter: "asyncio.Future[None] | None" = None


def package_version() -> str:
    """Return the version of this package: the two ends of a cluster have to speak the same contract."""
    return version("codemode-sandboxes")


class HostActor:
    """Starts and drives runs for one caller. Its methods run in one event loop, side by side.

    Args:
        inner: The name of the sandbox whose guests it hosts.
        options: Arguments of that sandbox.
    """

    def __init__(self, inner: str, options: Mapping[str, Any]) -> None:
        self._inner, self._options = inner, options
        self._sandbox: Sandbox | None = None
        self._runs: dict[int, Execution] = {}
        self._tasks: dict[int, asyncio.Task[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()  # a loop holds its tasks weakly
        self._boxes: dict[int, _Box] = {}
        self._ended: deque[int] = deque(maxlen=_EARLY_ENDS)

    async def open(self) -> Offer | Refusal:
        """Make the sandbox, and ask it here what it offers."""
        try:
            sandbox = self._sandbox = create_sandbox(self._inner, **self._options)
            capabilities = await asyncio.to_thread(lambda: sandbox.capabilities)
        except SandboxUnavailable as missing:
            return Refusal(missing.reason, missing.remedy)
        except (SandboxError, TypeError, ValueError) as error:
            return Refusal(f"{self._inner} cannot be made there: {error}")
        return Offer(version=package_version(), node=platform.node(), pid=os.getpid(), capabilities=capabilities)

    async def watch(self) -> None:
        """Never return: the caller learns by it when this process ends."""
        await asyncio.Event().wait()

    async def exchange(self, link: int, messages: list[tuple[int, str, bytes]]) -> list[tuple[int, bytes]]:
        """Take messages, each with its number, and return the answers that are there, to these or to earlier ones.

        A message is "begin", with a run's key, a program, limits and the clock: start it, and advance it for the first time;
        or "advance", with a key, outcomes and the clock; or "end", with a key. The answer is an event, a refusal, a fault,
        or None: the run was ended. Arguments and answers are pickled, each by itself.
        """
        box = self._boxes.setdefault(link, _Box())
        for number, name, payload in messages:
            box.open += 1
            task = asyncio.create_task(self._answer(box, number, name, payload))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        older, box.waiter = box.waiter, None
        if older is not None and not older.done():
            older.set_result(None)
        if not box.answers and box.open:
            box.waiter = waiter = asyncio.get_running_loop().create_future()
            await waiter
        # What ends in the same turns of the loop goes along.
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        answers, box.answers = box.answers, []
        return answers

    async def _answer(self, box: "_Box", number: int, name: str, payload: bytes) -> None:
        try:
            answer = pickle.dumps(await getattr(self, f"_{name}")(*pickle.loads(payload)))
        except SandboxUnavailable as missing:
            answer = pickle.dumps(Refusal(missing.reason, missing.remedy))
        except Exception as error:
            answer = pickle.dumps(Fault(f"{type(error).__name__}: {error}"))
        box.open -= 1
        box.answers.append((number, answer))
        if box.waiter is not None and not box.waiter.done():
            box.waiter.set_result(None)

    async def _begin(self, key: int, program: Program, limits: Limits, elapsed: float | None) -> Event | None:
        # Messages whose arguments are large are fetched first, so that an "end" may come before its "begin".
        if key in self._ended:
            self._ended.remove(key)
            return None
        return await self._work(key, self._first(key, program, limits, elapsed))

    async def _advance(self, key: int, outcomes: Mapping[int, Outcome], elapsed: float | None) -> Event | None:
        if (execution := self._runs.get(key)) is None:
            return None
        return await self._work(key, execution.advance(outcomes, elapsed=elapsed))

    async def _end(self, key: int) -> None:
        execution, task = self._runs.pop(key, None), self._tasks.pop(key, None)
        if execution is None and task is None:
            self._ended.append(key)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            # A guest that had just started when the task was cancelled.
            execution = self._runs.pop(key, execution)
        if execution is not None:
            await execution.aclose()

    async def forget(self, key: int) -> None:
        """End a run that nobody holds any more."""
        await self._end(key)

    async def close(self) -> None:
        """End all runs, free what the sandbox holds on this machine, and end this process a moment later."""
        for key in {*self._runs, *self._tasks}:
            await self._end(key)
        if self._sandbox is not None:
            await self._sandbox.aclose()
        # The cluster ends this process, unless it is gone itself.
        asyncio.get_running_loop().call_later(_EXIT_SECONDS, os._exit, 0)

    async def _first(self, key: int, program: Program, limits: Limits, elapsed: float | None) -> Event:
        assert self._sandbox is not None, "the caller has the host's offer before it sends a program"
        execution = self._runs[key] = await self._sandbox.start(program, limits)
        return await execution.advance(elapsed=elapsed)

    async def _work(self, key: int, step: Coroutine[Any, Any, Event]) -> Event | None:
        # A task of its own, as `end` cancels it: one that Ray made would fail with it.
        task = self._tasks[key] = asyncio.create_task(step)
        await asyncio.wait([task])
        stopped = self._tasks.pop(key, None) is None
        if stopped or task.cancelled():
            return None
        try:
            event: Event = task.result()
        except BaseException:
            self._runs.pop(key, None)
            raise
        if not isinstance(event, Blocked):
            self._runs.pop(key, None)
        return event
