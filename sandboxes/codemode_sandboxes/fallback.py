"""The first sandbox of several that is available."""

from collections.abc import Collection

from codemode_sandboxes.choice import Choice, PassedOver, SandboxChoice
from codemode_sandboxes.contract import Capabilities, Sandbox
from codemode_sandboxes.errors import SandboxUnavailable

__all__ = ["FallbackSandbox"]


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
