"""What `AutoSandbox` and `FallbackSandbox` have in common: a sandbox made of several, of which one runs each program."""

import ast
import asyncio
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import get_args

from codemode_sandboxes.contract import Boundary, Capabilities, Enforced, Execution, Limits, Program, Sandbox
from codemode_sandboxes.errors import NoSandboxFits, PassedOver, SandboxUnavailable
from codemode_sandboxes.registry import SANDBOXES, backend_name, create_sandbox
from codemode_sandboxes.source.tree import Tree, tree_of

__all__ = [
    "BY_COST",
    "AutoSandbox",
    "Choice",
    "FallbackSandbox",
    "SandboxChoice",
    "lacking",
    "needed_modules",
    "resolve_sandbox",
]

_RETRY_SECONDS = 30.0
"""How long a backend that was not there is not asked again."""


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


_CAUGHT = {"Exception", "ImportError", "ModuleNotFoundError"}


def needed_modules(tree: Tree) -> Iterator[tuple[str, ast.Import | ast.ImportFrom]]:
    """Give the top-level modules that a program imports, each with its statement.

    An import that is tried, with a handler for the case that it fails, is no need. A relative import is "."'s.
    """
    for node in tree.of(ast.Import, ast.ImportFrom):
        if not _is_tried(tree, node):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], node) for alias in node.names)
            else:
                yield ("." if node.level else (node.module or "").partition(".")[0]), node


def lacking(code: str, capabilities: Capabilities) -> tuple[str, ...]:
    """Name what a program uses and a backend does not offer.

    Args:
        code: Any text. What is not Python is a failure on every backend, so it lacks nothing anywhere.
        capabilities: The backend's.

    Returns:
        Names of gaps, and modules as in "the module csv"; empty where the backend can run the program.
    """
    try:
        tree = tree_of(code)
    except SyntaxError:
        return ()
    gaps = [gap.name for gap in capabilities.gaps if any(True for _ in gap.find(tree))]
    modules = sorted({module for module, _ in needed_modules(tree)} - capabilities.modules)
    return (*gaps, *(f"the module {module[:80]}" for module in modules))


def _is_tried(tree: Tree, node: ast.AST) -> bool:
    inside = {node, *tree.ancestors(node)}
    for around in tree.ancestors(node):
        if isinstance(around, ast.Try) and any(inner in inside for inner in around.body):
            for handler in around.handlers:
                names = {n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)} if handler.type else _CAUGHT
                if names & _CAUGHT:
                    return True
    return False


BY_COST = ("monty", "restricted", "nsjail", "bubblewrap", "pyodide", "docker")
"""Backends by what a start costs, as measured: 1, 10, 60, 70, 100 and 250 milliseconds or more."""


class AutoSandbox(SandboxChoice):
    """Runs each program on the cheapest backend that offers the syntax and the modules that it uses.

    A backend that is not available is passed over, and named where none fits. Choosing reads the program's text and runs
    none of it. A backend is asked what it offers when the cheaper ones do not do, once: that takes from 0.1 to 5
    seconds.

    Args:
        allowed: Names, or sandboxes, that may be chosen; by default all that there are. Whatever their order, the
            cheapest come first; sandboxes of one's own come last.
        boundary: What has to stand between a program and the host: one of `Boundary`, or several of which one will do.
            By default any but "none".
        enforces: Limits and denials that a backend must truly enforce; by default all.

    Raises:
        UnknownSandbox: No backend has one of the names.
        ValueError: Nothing is allowed, or a backend twice.
    """

    name = "auto"

    def __init__(
        self,
        allowed: Iterable[str | Sandbox] | None = None,
        *,
        boundary: Boundary | Collection[Boundary] | None = None,
        enforces: Collection[Enforced] = get_args(Enforced),
    ) -> None:
        super().__init__(SANDBOXES if allowed is None else allowed)
        self._given = dict(sorted(self._given.items(), key=lambda item: self.cost(item[0])))
        kinds = get_args(Boundary) if boundary is None else (boundary,) if isinstance(boundary, str) else boundary
        self._boundaries = {kind for kind in kinds if boundary is not None or kind != "none"}
        self._enforces = frozenset(enforces)
        unknown = [*self._boundaries.difference(get_args(Boundary)), *self._enforces.difference(get_args(Enforced))]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no boundary, or no limit that a sandbox could enforce")

    @staticmethod
    def cost(name: str) -> int:
        """Rank a backend by what it costs, the cheapest first; those that are not known rank last."""
        return BY_COST.index(name) if name in BY_COST else len(BY_COST)

    @property
    def capabilities(self) -> Capabilities:
        """What the cheapest backends offer together, up to and with the first that lacks no syntax.

        Dearer ones may offer further modules: `capabilities_for` takes them in where a program needs them.

        Raises:
            SandboxUnavailable: None of the backends is available.
        """
        found = []
        for _, able in self._available([]):
            found.append(able)
            if not able.gaps:
                break
        if not found:
            raise self._none(self._absent())
        return reduce(_together, found)

    def capabilities_for(self, code: str) -> Capabilities:
        """Return what the cheapest backends offer together, up to and with the first that can run a program.

        A program that the cheapest can run has no dearer one started, not even to ask what it offers.

        Raises:
            SandboxUnavailable: None of the backends is available.
        """
        found = []
        for _, able in self._available([]):
            found.append(able)
            if not lacking(code, able):
                break
        if not found:
            raise self._none(self._absent())
        return reduce(_together, found)

    def choose_now(self, code: str, *, without: Collection[str] = ()) -> Choice:
        """Do what `choose` does, and keep the calling thread waiting meanwhile."""
        passed_over: list[PassedOver] = []
        for name, able in self._available(passed_over):
            if name in without:
                passed_over.append(PassedOver(name=name, reason="it did not start"))
            elif lacks := lacking(code, able):
                passed_over.append(PassedOver(name=name, lacks=lacks))
            else:
                return Choice(sandbox=self.backend(name), passed_over=tuple(passed_over))
        raise self._none(passed_over)

    def _available(self, passed_over: list[PassedOver]) -> Iterator[tuple[str, Capabilities]]:
        """Give the backends that are there and allowed, the cheapest first, and note the others."""
        for name in self._given:
            try:
                able = self._ask(name)
            except SandboxUnavailable as missing:
                passed_over.append(PassedOver(name=name, reason=missing.reason, remedy=missing.remedy))
                continue
            if refused := self._refuse(able):
                passed_over.append(PassedOver(name=name, reason=refused))
            else:
                yield name, able

    def _absent(self) -> list[PassedOver]:
        passed_over: list[PassedOver] = []
        list(self._available(passed_over))
        return passed_over

    def _refuse(self, able: Capabilities) -> str:
        if able.boundary not in self._boundaries:
            return f"its boundary is {able.boundary!r}, and only {', '.join(sorted(self._boundaries))} is allowed"
        if unmet := self._enforces - able.enforces:
            return f"it does not enforce limits of {', '.join(sorted(unmet))}"
        return ""


def _together(one: Capabilities, other: Capabilities) -> Capabilities:
    """What two backends offer, where either may be chosen."""
    gaps = {gap.name for gap in other.gaps}
    return Capabilities(
        language=other.language if len(other.gaps) < len(one.gaps) else one.language,
        boundary=one.boundary,
        modules=one.modules | other.modules,
        gaps=tuple(gap for gap in one.gaps if gap.name in gaps),
        enforces=one.enforces & other.enforces,
    )


class FallbackSandbox(SandboxChoice):
    """Runs programs on one backend and, only where that is not available, on the next that is named.

    What a program needs plays no part in it: `AutoSandbox` goes by that.

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
        """What the first backend that is available offers.

        Raises:
            SandboxUnavailable: None is.
        """
        return self._ask(self.choose_now("").sandbox.name)

    def capabilities_for(self, code: str) -> Capabilities:
        """What `capabilities` says."""
        return self.capabilities

    def choose_now(self, code: str, *, without: Collection[str] = ()) -> Choice:
        """Do what `choose` does, and keep the calling thread waiting meanwhile."""
        passed_over: list[PassedOver] = []
        for name in self.names:
            try:
                if name not in without:
                    self._ask(name)
                    return Choice(sandbox=self.backend(name), passed_over=tuple(passed_over))
                passed_over.append(PassedOver(name=name, reason="it did not start"))
            except SandboxUnavailable as missing:
                passed_over.append(PassedOver(name=name, reason=missing.reason, remedy=missing.remedy))
        raise self._none(passed_over)


def resolve_sandbox(
    sandbox: str | Sandbox | None = None,
    *,
    auto: Sequence[str | Sandbox] | None = None,
    fallback: Sequence[str | Sandbox] = (),
) -> Sandbox:
    """Give the sandbox that is meant.

    Args:
        sandbox: A sandbox, a backend's name, or "auto"; None is "monty" where `fallback` is given, and "auto" otherwise.
        auto: The backends among which "auto" may choose; by default all.
        fallback: Backends that are used, in order, only where the one before is not available.

    Raises:
        UnknownSandbox: No backend has one of the names.
        SandboxUnavailable: The backend cannot run here, and there is no other.
        ValueError: What is given contradicts itself.
    """
    if isinstance(auto, str) or isinstance(fallback, str):
        raise ValueError("auto and fallback are lists of sandboxes")
    if auto is not None and sandbox not in (None, "auto"):
        raise ValueError("auto names the sandboxes among which 'auto' chooses: leave the other sandbox out")
    if auto is not None or sandbox == "auto" or (sandbox is None and not fallback):
        if fallback:
            raise ValueError("'auto' goes on to the next sandbox by itself: leave fallback out")
        return AutoSandbox(auto)
    wanted = "monty" if sandbox is None else sandbox
    if fallback:
        return FallbackSandbox(wanted, *fallback)
    return create_sandbox(backend_name(wanted)) if isinstance(wanted, str) else wanted
