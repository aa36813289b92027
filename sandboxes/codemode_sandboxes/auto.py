"""The cheapest sandbox that offers what a program needs, chosen anew for each program."""

from collections.abc import Collection, Iterable, Iterator
from functools import reduce
from typing import get_args

from codemode_sandboxes.choice import Choice, PassedOver, SandboxChoice
from codemode_sandboxes.contract import Boundary, Capabilities, Enforced, Sandbox
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.needs import lacking
from codemode_sandboxes.registry import SANDBOXES

__all__ = ["BY_COST", "AutoSandbox"]

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
        """What `capabilities` says, and what the further backends offer that it takes to run a program."""
        offered = self.capabilities
        for _, able in self._available([]):
            offered = _together(offered, able)
            if not lacking(code, able):
                break
        return offered

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
