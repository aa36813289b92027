"""Monty: a memory-safe interpreter of a Python subset, in worker processes."""

from codemode_sandboxes.errors import SandboxUnavailable

try:
    import pydantic_monty  # noqa: F401
except ImportError as error:
    raise SandboxUnavailable(
        "monty", f"pydantic-monty cannot be imported ({error})", "Install it with `pip install codemode-sandboxes`"
    ) from error

from codemode_sandboxes.monty.sandbox import MontySandbox

__all__ = ["MontySandbox"]
