"""Sandboxes that are made of several backends and choose one for each program, before any of it has run."""

import ast
import asyncio
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial, reduce
from typing import TypeVar, get_args

from codemode_sandboxes.contract import Boundary, Capabilities, Enforced, Execution, Limits, Program, Sandbox
from codemode_sandboxes.errors import NoSandboxFits, PassedOver, SandboxUnavailable
from codemode_sandboxes.handover import Candidate, HandoverSandbox
from codemode_sandboxes.registry import SANDBOXES, SPREAD, backend_name, create_sandbox
from codemode_sandboxes.source.tree import Tree, tree_of

__all__ = [
    "BY_COST",
    "AutoSandbox",
    "Choice",
    "FallbackSandbox",
    "SandboxChoice",
    "find_lacks",
    "needed_modules",
    "resolve_sandbox",
]

BY_COST = ("monty", "restricted", "nsjail", "bubblewrap", "pyodide", "docker")
"""Backends by what a start costs, as measured: 1, 10, 60, 70, 100 and 250 milliseconds or more."""

_RETRY_SECONDS = 30.0  # until a backend that was not available is asked again: some take seconds to say no
# Handlers by which a program says that it can do without a module that it tries to import.
_CATCHES = {"Exception", "ImportError", "ModuleNotFoundError"}


T = TypeVar("T")
_may_ask: ContextVar[bool] = ContextVar("_may_ask", default=True)


class _NotAsked(Exception):
    """A backend would have to be asked what it offers, which takes time, where only known answers are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The backend for a program.

    Attributes:
        sandbox: The backend.
        passed_over: The backends that come before it in order, each with the reason.
    """

    sandbox: Sandbox
    passed_over: tuple[PassedOver, ...] = ()


class SandboxChoice:
    """Several backends, of which one is chosen for each program, before any of it has run.

    It is a `Sandbox` itself: `start` chooses and starts. A host that stops a program and starts it again calls `choose`
    once, remembers the name, and goes on with `backend(name)`. What a backend offers is asked once and remembered, so
    that to choose again costs no more than to parse the program.

    Args:
        backends: Names, or sandboxes, in the order in which they are considered. A backend that is named is made when it
            is first considered.

    Raises:
        UnknownSandbox: No backend has one of the names.
        ValueError: There are none, or one is there twice.
    """

    name: str

    def __init__(self, backends: Iterable[str | Sandbox]) -> None:
        listed = list(backends)
        self._backends = {backend_name(each) if isinstance(each, str) else each.name: each for each in listed}
        if not listed or len(self._backends) < len(listed):
            raise ValueError("name at least one sandbox, and none of them twice")
        # Not held while a backend is asked what it offers, which may take seconds.
        self._lock = threading.RLock()
        self._sandboxes = {name: each for name, each in self._backends.items() if not isinstance(each, str)}
        self._offers: dict[str, Capabilities] = {}
        self._missing: dict[str, tuple[float, SandboxUnavailable]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The backends' names, in the order in which they are considered."""
        return tuple(self._backends)

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities that programs may be written for. To find them out may start backends.

        Raises:
            SandboxUnavailable: None of the backends is available.
        """
        raise NotImplementedError

    def capabilities_for(self, code: str) -> Capabilities:
        """Return what the backends offer together, up to and with the first that offers what a program uses.

        Raises:
            SandboxUnavailable: None of the backends is available.
        """
        raise NotImplementedError

    def choose_now(self, code: str, *, without: Collection[str] = ()) -> Choice:
        """Do what `choose` does, in the calling thread."""
        raise NotImplementedError

    async def choose(self, program: Program, *, without: Collection[str] = ()) -> Choice:
        """Choose the backend for a program.

        Args:
            program: The program.
            without: Names of backends to leave out.

        Raises:
            NoSandboxFits: None of the available backends offers what the program uses.
            SandboxUnavailable: None is available.
        """
        return await self._in_loop(partial(self.choose_now, program.code, without=without))

    async def acapabilities_for(self, code: str) -> Capabilities:
        """Do what `capabilities_for` does, without blocking the event loop.

        Raises:
            SandboxUnavailable: None of the backends is available.
        """
        return await self._in_loop(partial(self.capabilities_for, code))

    async def acapabilities(self) -> Capabilities:
        """Return `capabilities` without blocking the event loop.

        Raises:
            SandboxUnavailable: None of the backends is available.
        """
        return await self._in_loop(lambda: self.capabilities)

    async def _in_loop(self, function: Callable[[], T]) -> T:
        """Call a function that asks backends what they offer: in a thread only where one has to be asked for the first time.

        A thread costs more than all the rest of a choice whose answers are known, and a first question starts processes.
        """
        token = _may_ask.set(False)
        try:
            return function()
        except _NotAsked:
            pass
        finally:
            _may_ask.reset(token)
        return await asyncio.to_thread(function)

    def backend(self, name: str) -> Sandbox:
        """Return the backend of a name.

        Raises:
            SandboxUnavailable: It is not one of these, or cannot run here.
        """
        if name not in self._backends:
            reason = f"it is not among those that may be chosen: {', '.join(self._backends)}"
            raise SandboxUnavailable(name, reason, "Allow it")
        with self._lock:
            if name not in self._sandboxes:
                self._sandboxes[name] = create_sandbox(name)
            return self._sandboxes[name]

    async def start(self, program: Program, limits: Limits = Limits()) -> Execution:  # noqa: B008 - frozen
        """Prepare a run on the backend that is chosen or, where that does not start, on the next.

        Raises:
            NoSandboxFits: None of the available backends offers what the program uses.
            SandboxUnavailable: None is available.
        """
        without: list[str] = []
        while True:
            choice = await self.choose(program, without=without)
            try:
                return await self.handover(choice.sandbox, program).start(program, limits)
            except SandboxUnavailable as missing:
                self.note_missing(choice.sandbox.name, missing)
                without.append(choice.sandbox.name)
                # Nothing of the program has run, so another backend may take it. The last error is the caller's.
                if len(without) == len(self._backends):
                    raise

    def handover(
        self, sandbox: Sandbox, program: Program, on_move: Callable[[Choice], None] = lambda _: None
    ) -> Sandbox:
        """Return a backend of these, from which a run moves to another where this one turns out to lack something.

        Args:
            sandbox: The backend.
            program: What is to run there.
            on_move: Called with the choice of another backend, once the run is there and before it goes on.
        """
        return sandbox

    async def aclose(self) -> None:
        """Close every backend that was used."""
        with self._lock:
            # A copy, since a backend takes time to close and others may choose meanwhile.
            sandboxes = list(self._sandboxes.values())
        for sandbox in sandboxes:
            await sandbox.aclose()

    def note_missing(self, name: str, missing: SandboxUnavailable) -> None:
        """Note that a backend did not start, so that it is passed over for 30 seconds."""
        self._missing[name] = (time.monotonic(), missing)

    def _ask(self, name: str) -> Capabilities:
        """Return what a backend offers.

        Raises:
            SandboxUnavailable: It is not available, or was not a moment ago.
        """
        # The error is kept, not just the fact: it has the reason and the remedy for the caller.
        noted = self._missing.get(name)
        if noted is not None and time.monotonic() - noted[0] < _RETRY_SECONDS:
            raise noted[1]
        if name not in self._offers:
            if not _may_ask.get():
                raise _NotAsked
            try:
                self._offers[name] = self.backend(name).capabilities
            except SandboxUnavailable as missing:
                self.note_missing(name, missing)
                raise
        return self._offers[name]

    def _available(self, passed_over: list[PassedOver], without: Collection[str] = ()) -> Iterator[str]:
        """Yield the names of the backends that may be used, in order, and note the others."""
        for name in self._backends:
            try:
                refusal = self._refuse(self._ask(name)) or ("it did not start" if name in without else "")
            except SandboxUnavailable as missing:
                passed_over.append(PassedOver(name=name, reason=missing.reason, remedy=missing.remedy))
                continue
            if refusal:
                passed_over.append(PassedOver(name=name, reason=refusal))
            else:
                yield name

    def _refuse(self, offered: Capabilities) -> str:
        """Return why a backend that is available may not be used; empty where it may."""
        return ""

    def _explain(self, passed_over: list[PassedOver]) -> NoSandboxFits | SandboxUnavailable:
        """Return the error that says why no backend is chosen."""
        if any(each.lacks for each in passed_over):
            return NoSandboxFits(tuple(passed_over))
        reasons = "; ".join(map(str, passed_over))
        return SandboxUnavailable(self.name, f"none of its backends is available here: {reasons}")


class AutoSandbox(SandboxChoice):
    """Runs each program on the cheapest backend that offers the syntax and the modules that the program uses.

    That is Monty where the program fits it, else `restricted`, else a jail, Pyodide or Docker, whichever is there. To
    choose, the program's text is read and none of it is run. A backend is asked what it offers when all cheaper ones do
    not do, and once: that takes from 0.1 to 5 seconds. `Choice.passed_over` says why the cheaper ones were not taken.

    A backend without a wall is never taken unless it is asked for. By default every backend that is taken has a
    `Boundary` other than "none" and enforces all limits and denials, so the choice never trades safety for a feature.

    Args:
        allowed: Names, or sandboxes, that may be chosen; by default all that are on this machine. Whatever their order,
            the cheapest come first; those of a cluster and of one's own come last.
        boundary: What has to stand between a program and the host: one of `Boundary`, or several of which one will do.
            By default any but "none".
        enforces: Limits and denials that a backend must truly enforce; by default all.

    Raises:
        UnknownSandbox: No backend has one of the names.
        ValueError: Nothing is allowed, a backend is there twice, or a boundary or a limit has an unknown name.
    """

    name = "auto"

    def __init__(
        self,
        allowed: Iterable[str | Sandbox] | None = None,
        *,
        boundary: Boundary | Collection[Boundary] | None = None,
        enforces: Collection[Enforced] = get_args(Enforced),
    ) -> None:
        super().__init__([name for name in SANDBOXES if name not in SPREAD] if allowed is None else allowed)
        self._backends = dict(sorted(self._backends.items(), key=lambda item: self.cost(item[0])))
        if boundary is None:
            # Programs come from models: without a boundary they run with the rights of the host.
            self._boundaries = set(get_args(Boundary)) - {"none"}
        else:
            self._boundaries = {boundary} if isinstance(boundary, str) else set(boundary)
        self._enforces = frozenset(enforces)
        unknown = [*self._boundaries.difference(get_args(Boundary)), *self._enforces.difference(get_args(Enforced))]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no boundary, or no limit that a sandbox could enforce")

    @staticmethod
    def cost(name: str) -> int:
        """Return a backend's rank by cost, 0 for the cheapest; those that are not known rank last."""
        return BY_COST.index(name) if name in BY_COST else len(BY_COST)

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the cheapest backends together, up to and with the first that lacks no syntax.

        Dearer ones may offer further modules: `capabilities_for` takes them in where a program needs them.

        Raises:
            SandboxUnavailable: None of the backends is available.
        """
        return self._offer_until(lambda offered: not offered.gaps)

    def capabilities_for(self, code: str) -> Capabilities:
        """Return what the cheapest backends offer together, up to and with the first that can run a program.

        A program that the cheapest can run starts no dearer one, not even to ask what it offers.

        Raises:
            SandboxUnavailable: None of the backends is available.
        """
        return self._offer_until(
            lambda offered: not find_lacks(code, offered) and not (offered.gaps and _optional_lacks(code, offered))
        )

    def choose_now(self, code: str, *, without: Collection[str] = ()) -> Choice:
        """Do what `choose` does, in the calling thread."""
        passed_over: list[PassedOver] = []
        second: Choice | None = None
        for name in self._available(passed_over, without):
            if lacks := find_lacks(code, self._ask(name)):
                passed_over.append(PassedOver(name=name, lacks=lacks))
                continue
            choice = Choice(sandbox=self.backend(name), passed_over=tuple(passed_over))
            if not (missed := _optional_lacks(code, self._ask(name))):
                return choice
            # A module that the program can do without, as its `try` says, is better had: what it does may depend on it.
            second = second or choice
            if not self._ask(name).gaps:  # the first with the whole language is as good as any that would take longer
                break
            passed_over.append(PassedOver(name=name, lacks=missed))
        if second is not None:
            return second
        raise self._explain(passed_over)

    def handover(
        self, sandbox: Sandbox, program: Program, on_move: Callable[[Choice], None] = lambda _: None
    ) -> Sandbox:
        """Return a backend of these, from which a run moves to the next one where this one turns out to lack something."""
        # A backend that nobody has asked yet what it offers is not asked now: that takes time.
        offered = self._offers.get(sandbox.name)
        if offered is not None and not offered.gaps:
            return sandbox

        async def candidates(lacks: str) -> AsyncGenerator[Candidate]:
            without = [sandbox.name]
            while True:
                try:
                    choice = await self.choose(program, without=without)
                except (NoSandboxFits, SandboxUnavailable):
                    return
                lacking = PassedOver(name=sandbox.name, lacks=(lacks,))
                others = tuple(each for each in choice.passed_over if each.name != sandbox.name)
                moved = Choice(sandbox=choice.sandbox, passed_over=(lacking, *others))
                yield Candidate(choice.sandbox, partial(on_move, moved))
                without.append(choice.sandbox.name)

        return HandoverSandbox(sandbox, candidates)

    def _offer_until(self, enough: Callable[[Capabilities], bool]) -> Capabilities:
        offers: list[Capabilities] = []
        passed_over: list[PassedOver] = []
        for name in self._available(passed_over):
            offers.append(self._ask(name))
            if enough(offers[-1]):
                break
        if not offers:
            raise self._explain(passed_over)
        return reduce(_join, offers)

    def _refuse(self, offered: Capabilities) -> str:
        if offered.boundary not in self._boundaries:
            return f"its boundary is {offered.boundary!r}, and only {', '.join(sorted(self._boundaries))} is allowed"
        if unmet := self._enforces - offered.enforces:
            return f"it does not enforce limits of {', '.join(sorted(unmet))}"
        return ""


class FallbackSandbox(SandboxChoice):
    """Runs programs on one backend and, only where that is not available, on the next that is named.

    What a program uses plays no part: for a choice by that take `AutoSandbox`.

    Args:
        first: The backend that is wanted.
        others: What may be used instead, in order.

    Raises:
        UnknownSandbox: No backend has one of the names.
        ValueError: One is there twice.
    """

    def __init__(self, first: str | Sandbox, *others: str | Sandbox) -> None:
        super().__init__((first, *others))
        self.name = self.names[0]

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the first backend that is available.

        Raises:
            SandboxUnavailable: None is available.
        """
        return self._ask(self.choose_now("").sandbox.name)

    def capabilities_for(self, code: str) -> Capabilities:
        """Return `capabilities`, whatever the program."""
        return self.capabilities

    def choose_now(self, code: str, *, without: Collection[str] = ()) -> Choice:
        """Do what `choose` does, in the calling thread."""
        passed_over: list[PassedOver] = []
        for name in self._available(passed_over, without):
            return Choice(sandbox=self.backend(name), passed_over=tuple(passed_over))
        raise self._explain(passed_over)


def resolve_sandbox(
    sandbox: str | Sandbox | None = None,
    *,
    auto: Sequence[str | Sandbox] | None = None,
    fallback: Sequence[str | Sandbox] = (),
) -> Sandbox:
    """Return the sandbox that a caller's options name.

    A sandbox that is named is taken or is an error; another takes its place only where `fallback` names it.

    Args:
        sandbox: A sandbox, a backend's name, or "auto"; None is "monty" where `fallback` is given, and "auto" otherwise.
        auto: The backends among which "auto" may choose; by default all.
        fallback: Backends that are used, in order, only where the one before is not available.

    Raises:
        UnknownSandbox: No backend has one of the names.
        SandboxUnavailable: The backend cannot run here, and there is no other.
        ValueError: The options contradict each other.
    """
    if isinstance(auto, str) or isinstance(fallback, str):
        raise ValueError("auto and fallback are lists of sandboxes")
    if auto is not None and sandbox not in (None, "auto"):
        raise ValueError("auto names the sandboxes among which 'auto' chooses: leave the other sandbox out")
    if auto is not None or sandbox == "auto" or (sandbox is None and not fallback):
        if fallback:
            raise ValueError("'auto' goes on to the next sandbox by itself: leave fallback out")
        return AutoSandbox(auto)
    first = "monty" if sandbox is None else sandbox
    if fallback:
        return FallbackSandbox(first, *fallback)
    return create_sandbox(backend_name(first)) if isinstance(first, str) else first


def find_lacks(code: str, capabilities: Capabilities) -> tuple[str, ...]:
    """Return what a program uses and a backend does not offer.

    Args:
        code: Any text. What is not Python fails on every backend, so it lacks nothing.
        capabilities: The backend's.

    Returns:
        Names of gaps, and modules as in "the module csv"; empty where the backend can run the program.
    """
    try:
        tree = tree_of(code)
    except SyntaxError:
        return ()
    gaps = [gap.name for gap in capabilities.gaps if tree.found_by(gap.find)]
    modules = sorted({module for module, _ in needed_modules(tree)} - capabilities.modules)
    return (*gaps, *(f"the module {module[:80]}" for module in modules))


def needed_modules(tree: Tree) -> Iterator[tuple[str, ast.Import | ast.ImportFrom]]:
    """Yield the top-level modules that a program imports, each with its statement.

    An import that a `try` guards against failure is no need. A relative import needs the module ".".
    """
    return ((module, node) for module, node in _imported_modules(tree) if not _is_guarded(tree, node))


def _optional_lacks(code: str, capabilities: Capabilities) -> tuple[str, ...]:
    """Return the standard library's modules that a program tries to import, and that a backend does not offer."""
    try:
        tree = tree_of(code)
    except SyntaxError:
        return ()
    tried = {module for module, node in _imported_modules(tree) if _is_guarded(tree, node)}
    missing = sorted(tried & sys.stdlib_module_names - capabilities.modules)
    return tuple(f"the module {module}" for module in missing)


def _imported_modules(tree: Tree) -> Iterator[tuple[str, ast.Import | ast.ImportFrom]]:
    for node in tree.of(ast.Import, ast.ImportFrom):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node) for alias in node.names)
        else:
            yield ("." if node.level else (node.module or "").partition(".")[0]), node


def _is_guarded(tree: Tree, node: ast.AST) -> bool:
    path = {node, *tree.ancestors(node)}
    for ancestor in tree.ancestors(node):
        if isinstance(ancestor, ast.Try) and any(statement in path for statement in ancestor.body):
            for handler in ancestor.handlers:
                names = {n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)} if handler.type else _CATCHES
                if names & _CATCHES:
                    return True
    return False


def _join(one: Capabilities, other: Capabilities) -> Capabilities:
    """Return what two backends offer together, where either may be chosen: the gaps that both have, and all modules."""
    gaps = {gap.name for gap in other.gaps}
    return Capabilities(
        language=other.language if len(other.gaps) < len(one.gaps) else one.language,
        boundary=one.boundary,
        modules=one.modules | other.modules,
        gaps=tuple(gap for gap in one.gaps if gap.name in gaps),
        enforces=one.enforces & other.enforces,
    )
