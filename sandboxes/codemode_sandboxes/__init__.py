"""Sandboxes for programs that a language model wrote: one contract, many boundaries."""

from codemode_sandboxes.auto import AutoSandbox
from codemode_sandboxes.choice import Choice, PassedOver, SandboxChoice
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
from codemode_sandboxes.errors import (
    NoSandboxFits,
    SandboxClosed,
    SandboxError,
    SandboxUnavailable,
    UnknownSandbox,
)
from codemode_sandboxes.fallback import FallbackSandbox
from codemode_sandboxes.language import Diagnostic, Gap
from codemode_sandboxes.mock import MockExecution, MockSandbox
from codemode_sandboxes.registry import SANDBOXES, create_sandbox
from codemode_sandboxes.resolve import resolve_sandbox
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
