"""The errors that a sandbox raises on the host's side.

A program that fails is no error here but a `Failed` event.

    SandboxError
     ├─ SandboxUnavailable   the backend cannot run on this machine; says how to get it
     ├─ UnknownSandbox       no backend of that name
     ├─ NoSandboxFits        none of several backends offers what a program uses
     └─ SandboxClosed        used after `aclose()`
"""

from dataclasses import dataclass

__all__ = ["NoSandboxFits", "PassedOver", "SandboxClosed", "SandboxError", "SandboxUnavailable", "UnknownSandbox"]


class SandboxError(Exception):
    """Base of all errors raised by this package."""


class SandboxUnavailable(SandboxError):
    """The backend cannot run on this machine.

    Args:
        name: The backend.
        reason: What is missing, in one line.
        remedy: The command or step that makes it available, or an empty string where nothing does.
    """

    def __init__(self, name: str, reason: str, remedy: str = "") -> None:
        self.name, self.reason, self.remedy = name, reason, remedy
        super().__init__(f"sandbox {name!r} is not available: {reason}" + (f". {remedy}" if remedy else ""))


class UnknownSandbox(SandboxError, ValueError):
    """No backend has that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """A backend that was not chosen, and why.

    Attributes:
        name: The backend.
        lacks: What the program uses and the backend does not offer; empty where it is not available or not allowed.
        reason: Why it is not available or not allowed. It may hold paths of the host, so it is not for a model.
        remedy: The command or step that makes it available.
    """

    name: str
    lacks: tuple[str, ...] = ()
    reason: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        if self.lacks:
            return f"{self.name} lacks {', '.join(self.lacks)}"
        return f"{self.name} cannot be used: {self.reason}" + (f". {self.remedy}" if self.remedy else "")


class NoSandboxFits(SandboxError):
    """None of the backends that may be chosen and are available offers all that a program uses.

    Args:
        passed_over: Each backend, with the reason against it.
    """

    def __init__(self, passed_over: tuple[PassedOver, ...]) -> None:
        self.passed_over = passed_over
        super().__init__(f"no sandbox runs this program: {'; '.join(map(str, passed_over))}")


class SandboxClosed(SandboxError):
    """The sandbox, or the execution, was closed before this call."""
