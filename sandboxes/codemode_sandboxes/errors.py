"""What a sandbox raises on the host's side.

A program that fails is not an error here: it is a `Failed` event. These are for the host:

    SandboxError
     ├─ SandboxUnavailable   the backend cannot run on this machine; says how to get it
     ├─ UnknownSandbox       no backend of that name
     ├─ NoSandboxFits        of several backends none offers what a program uses
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


class NoSandboxFits(SandboxError):
    """Of the backends that may be chosen and are available, none offers all that a program uses.

    Args:
        passed_over: Each backend and why not that one.
    """

    def __init__(self, passed_over: tuple[PassedOver, ...]) -> None:
        self.passed_over = passed_over
        super().__init__(f"no sandbox runs this program: {'; '.join(map(str, passed_over))}")


class SandboxClosed(SandboxError):
    """The sandbox, or the execution, was closed before this call."""
