"""A caller's words about sandboxes, made into one."""

from collections.abc import Sequence

from codemode_sandboxes.auto import AutoSandbox
from codemode_sandboxes.contract import Sandbox
from codemode_sandboxes.fallback import FallbackSandbox
from codemode_sandboxes.registry import backend_name, create_sandbox

__all__ = ["resolve_sandbox"]


def resolve_sandbox(
    sandbox: str | Sandbox | None = None,
    *,
    auto: Sequence[str | Sandbox] | None = None,
    fallback: Sequence[str | Sandbox] = (),
) -> Sandbox:
    """Give the sandbox that is meant.

    Args:
        sandbox: A sandbox, a backend's name, or "auto"; None is "auto" where `auto` is given, and "monty" otherwise.
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
    if auto is not None or sandbox == "auto":
        if fallback:
            raise ValueError("'auto' goes on to the next sandbox by itself: leave fallback out")
        return AutoSandbox(auto)
    wanted = "monty" if sandbox is None else sandbox
    if fallback:
        return FallbackSandbox(wanted, *fallback)
    return create_sandbox(backend_name(wanted)) if isinstance(wanted, str) else wanted
