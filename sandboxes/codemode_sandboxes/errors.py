"""What a sandbox raises on the host's side.

A program that fails is not an error here: it is a `Failed` event. These are for the host:

    SandboxError
     ├─ SandboxUnavailable   the backend cannot run on this machine; says how to get it
     ├─ UnknownSandbox       no backend of that name
     └─ SandboxClosed        used after `aclose()`
"""

__all__ = ["SandboxClosed", "SandboxError", "SandboxUnavailable", "UnknownSandbox"]


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


class SandboxClosed(SandboxError):
    """The sandbox, or the execution, was closed before this call."""
