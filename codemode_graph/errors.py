"""What codemode-graph raises.

CodeModeError
 ├─ ConfigurationError   a missing key, an unknown model, a bad argument: says what to do
 ├─ ToolLoadError        tools, or an MCP server, cannot be loaded
 ├─ ModelError           the model could not be asked, or gave no program
 ├─ UnknownRun           no run of that name can be gone on from
 ├─ ToolCallError        a tool answered with an error
 └─ ToolOutcomeUnknown   a tool gave no answer: its call may have had its effect
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
    """Something was configured in a way that cannot work; the message says what to change."""


class ToolLoadError(CodeModeError):
    """Tools could not be loaded: an MCP server that does not answer, or an object that is not a tool."""


class ModelError(CodeModeError):
    """The model could not be asked, or its answer held no program."""


class UnknownRun(CodeModeError, KeyError):
    """No failed run of that name is kept here: it never was, it went on already, or too many came after it."""

    def __str__(self) -> str:
        return str(self.args[0])


class ToolCallError(CodeModeError, RuntimeError):
    """A tool answered a call with an error; the message is the tool's own."""


class ToolOutcomeUnknown(CodeModeError):
    """A call was handed to a tool, and no answer came: whether it had its effect cannot be told.

    A tool may raise it; a `TimeoutError` says the same.
    """
