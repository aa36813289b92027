"""Sandboxes for programs that a language model wrote: one contract, many boundaries."""

from codemode_sandboxes.choice import AutoSandbox, Choice, FallbackSandbox, SandboxChoice, resolve_sandbox
from codemode_sandboxes.contract import (
    Blocked,
    Boundary,
    Call,
    Capabilities,
    Diagnostic,
    Event,
    Execution,
    Failed,
    FailureKind,
    Finished,
    Gap,
    Limits,
    Outcome,
    Program,
    Raised,
    Returned,
    Sandbox,
)
from codemode_sandboxes.errors import (
    NoSandboxFits,
    PassedOver,
    SandboxClosed,
    SandboxError,
    SandboxUnavailable,
    UnknownSandbox,
)
from codemode_sandboxes.mock import MockExecution, MockSandbox
from codemode_sandboxes.registry import SANDBOXES, create_sandbox
from codemode_sandboxes.tool_names import attribute_names

__all__ = [
    "SANDBOXES",
    "AutoSandbox",
    "Blocked",
    "Boundary",
    "Call",
    "Capabilities",
    "Choice",
    "Diagnostic",
    "Event",
    "Execution",
    "Failed",
    "FailureKind",
    "FallbackSandbox",
    "Finished",
    "Gap",
    "Limits",
    "MockExecution",
    "MockSandbox",
    "NoSandboxFits",
    "Outcome",
    "PassedOver",
    "Program",
    "Raised",
    "Returned",
    "Sandbox",
    "SandboxChoice",
    "SandboxClosed",
    "SandboxError",
    "SandboxUnavailable",
    "UnknownSandbox",
    "attribute_names",
    "create_sandbox",
    "resolve_sandbox",
]
