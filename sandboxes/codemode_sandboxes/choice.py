"""What `AutoSandbox` and `FallbackSandbox` have in common: a sandbox made of several, of which one runs each program."""

import asyncio
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from codemode_sandboxes.contract import Capabilities, Execution, Limits, Program, Sandbox
from codemode_sandboxes.errors import NoSandboxFits, SandboxUnavailable
from codemode_sandboxes.registry import backend_name, create_sandbox

__all__ = ["Choice", "PassedOver", "SandboxChoice"]

_RETRY_SECONDS = 30.0
"""How long a backend that was not there is not asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """A backend that was not chosen, and why.

    Attributes:
        name: The backend.
        lacks: What the program uses and it does not offer; empty where it is not available at all.
        reason: Why it is not available or not allowed; may hold paths of the host.
        remedy: What makes it available.
    """

    name: str
    lacks: tuple[str, ...] = ()
    reason: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        if self.lacks:
            return f"{self.name} lacks {', '.join(self.lacks)}"
        return f"{self.name} cannot be used: {self.reason}" + (f". {self.remedy}" if self.remedy else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Where a program runs.

    Attributes:
        sandbox: The backend.
        passed_over: Those that came before it, in order.
    """

    sandbox: Sandbox
    passed_over: tuple[PassedOver, ...] = ()


class SandboxChoice:
    """Several backends, of which one is chosen for each program, before any of it has run.

    It is a `Sandbox` itself: `start` chooses and starts. A host that stops a program and starts it again asks `choose`
    once, remembers the name, and goes on with `backend(name)`.

    Args:
        backends: Names, or sandboxes; in the order in which they are considered. A named one is made when it is first
            considered.

    Raises:
        UnknownSandbox: No backend has one of the names.
        ValueError: There are none, or one is there twice.
    """

    name: str

    def __init__(self, backends: Iterable[str | Sandbox]) -> None:
        given = list(backends)
        self._given = {backend_name(each) if isinstance(each, str) else each.name: each for each in given}
        if not given or len(self._given) < len(given):
            raise ValueError("name at least one sandbox, and none of them twice")
        self._lock = threading.RLock()
        self._made: dict[str, Sandbox] = {name: each for name, each in self._given.items() if not isinstance(each, str)}
        self._known: dict[str, Capabilities] = {}
        self._missing: dict[str, tuple[float, SandboxUnavailable]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The backends' names, in the order in which they are considered."""
        return tuple(self._given)

    @property
    def capabilities(self) -> Capabilities:
        """What a program can be written for without more ado; finding out may start the backends.

        Raises:
            SandboxUnavailable: None of the backends is available.
        """
        raise NotImplementedError

    def capabilities_for(self, code: str) -> Capabilities:
        """What the backends offer together, as many of them as it takes to find one that offers what a program needs.

        Raises:
            SandboxUnavailable: None of the backends is available.
        """
        raise NotImplementedError

    def choose_now(self, code: str, *, without: Collection[str] = ()) -> Choice:
        """Do what `choose` does, and keep the calling thread waiting meanwhile."""
        raise NotImplementedError

    async def choose(self, program: Program, *, without: Collection[str] = ()) -> Choice:
        """Choose the backend for a program.

        Args:
            program: What is to run.
            without: Names of backends that are out of the question.

        Raises:
            NoSandboxFits: Of the available ones, none offers what the program uses.
            SandboxUnavailable: None is available.
        """
        return await asyncio.to_thread(self.choose_now, program.code, without=without)

    def backend(self, name: str) -> Sandbox:
        """Give the backend of a name.

        Raises:
            SandboxUnavailable: It is not one of these, or cannot run here.
        """
        if name not in self._given:
            reason = f"it is not among those that may be chosen: {', '.join(self._given)}"
            raise SandboxUnavailable(name, reason, "Allow it")
        with self._lock:
            if name not in self._made:
                self._made[name] = create_sandbox(name)
            return self._made[name]

    async def start(self, program: Program, limits: Limits = Limits()) -> Execution:  # noqa: B008 - frozen
        """Prepare a run on the backend that is chosen; where that does not start, on the next.

        Raises:
            NoSandboxFits: Of the available ones, none offers what the program uses.
            SandboxUnavailable: None is available.
        """
        without: list[str] = []
        while True:
            choice = await self.choose(program, without=without)
            try:
                return await choice.sandbox.start(program, limits)
            except SandboxUnavailable as missing:
                self.note_missing(choice.sandbox.name, missing)
                without.append(choice.sandbox.name)
                if len(without) == len(self._given):
                    raise

    async def aclose(self) -> None:
        """Close every backend that was used."""
        with self._lock:
            made = list(self._made.values())
        for sandbox in made:
            await sandbox.aclose()

    def note_missing(self, name: str, missing: SandboxUnavailable) -> None:
        """Note that a backend did not start, so that it is passed over for a while."""
        self._missing[name] = (time.monotonic(), missing)

    def _ask(self, name: str) -> Capabilities:
        """Find out what a backend offers.

        Raises:
            SandboxUnavailable: It is not available, or was not just now.
        """
        noted = self._missing.get(name)
        if noted is not None and time.monotonic() - noted[0] < _RETRY_SECONDS:
            raise noted[1]
        if name not in self._known:
            try:
                self._known[name] = self.backend(name).capabilities
            except SandboxUnavailable as missing:
                self.note_missing(name, missing)
                raise
        return self._known[name]

    def _none(self, passed_over: list[PassedOver]) -> NoSandboxFits | SandboxUnavailable:
        """Say why no backend is chosen."""
        if any(each.lacks for each in passed_over):
            return NoSandboxFits(tuple(passed_over))
        reason = "none of its backends is available here"
        told = "; ".join(str(each) for each in passed_over)
        return SandboxUnavailable(self.name, f"{reason}: {told}" if told else reason)
