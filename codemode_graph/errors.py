"""The errors of codemode-graph.

CodeModeError
 ├─ ConfigurationError   a missing key, an unknown model, a bad argument: says what to do
 ├─ ToolLoadError        tools, or an MCP server, cannot be loaded
 ├─ ModelError           the request to the model failed, or its reply has no program
 ├─ UnknownRun           no run with that id can be continued
 ├─ ToolCallError        a tool answered with an error
 └─ ToolOutcomeUnknown   a tool did not answer: its call may have had its effect
"""

__all__ = [
    "CodeModeError",
    "ConfigurationError",
    "ModelError",
    "ToolCallError",
    "ToolLoadError",
    "ToolOutcomeUnknown",
    "UnknownRun",
]


class CodeModeError(Exception):
    """Base of all errors raised by this package."""


class ConfigurationError(CodeModeError, ValueError):
    """A configuration cannot work; the message says what to change."""


class ToolLoadError(CodeModeError):
    """Tools cannot be loaded: an MCP server does not answer, or an object is no tool."""


class ModelError(CodeModeError):
    """The request to the model failed, or its reply has no program."""


class UnknownRun(CodeModeError, KeyError):
    """No failed run with that id is kept here: there was none, it was continued already, or too many came after it."""

    def __str__(self) -> str:  # A KeyError shows the repr of its message.
        return str(self.args[0])


class ToolCallError(CodeModeError, RuntimeError):
    """A tool answered a call with an error; the message is the tool's own."""


class ToolOutcomeUnknown(CodeModeError):
    """A tool did not answer a call: whether the call had its effect is unknown.

    A tool may raise it; a `TimeoutError` means the same.
    """
