"""Sandboxes that do not run."""

from codemode_sandboxes import Failed, MockSandbox, Sandbox, SandboxUnavailable

__all__ = ["absent", "broken"]


def absent() -> Sandbox:
    """One that this machine does not have."""
    raise SandboxUnavailable("absent", "there is no such thing here", "Install it with `make it-so`")


def broken() -> Sandbox:
    """One in which every program fails."""
    return MockSandbox(Failed(kind="died", type="RuntimeError", message="the guest died"))
