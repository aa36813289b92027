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
from codemode_sandboxes.language import Diagnostic, Gap
from codemode_sandboxes.mock import MockExecution, MockSandbox
from codemode_sandboxes.names import attribute_names
from codemode_sandboxes.registry import SANDBOXES, create_sandbox

__all__ = [
    "SANDBOXES",
    "Blocked",
    "Boundary",
    "Call",
    "Capabilities",
    "Diagnostic",
    "Event",
    "Execution",
    "Failed",
    "FailureKind",
    "Finished",
    "Gap",
    "Limits",
    "MockExecution",
    "MockSandbox",
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
    "create_sandbox",
]
