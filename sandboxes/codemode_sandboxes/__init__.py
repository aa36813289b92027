"""Sandboxes for programs that a language model wrote: one contract, many boundaries."""

from codemode_sandboxes.contract import (
    Blocked,
    Boundary,
    Call,
    Capabilities,
    Event,
    Execution,
    Failed,
    FailureKind,
    Finished,
    Limits,
    Outcome,
    Program,
    Raised,
    Returned,
    Sandbox,
)
from codemode_sandboxes.errors import SandboxClosed, SandboxError, SandboxUnavailable, UnknownSandbox
from codemode_sandboxes.language import Gap
from codemode_sandboxes.names import attribute_names

__all__ = [
    "Blocked",
    "Boundary",
    "Call",
    "Capabilities",
    "Event",
    "Execution",
    "Failed",
    "FailureKind",
    "Finished",
    "Gap",
    "Limits",
    "Outcome",
    "Program",
    "Raised",
    "Returned",
    "Sandbox",
    "SandboxClosed",
    "SandboxError",
    "SandboxUnavailable",
    "UnknownSandbox",
    "attribute_names",
]
