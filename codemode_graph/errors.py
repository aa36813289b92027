"""The errors of codemode-graph.

CodeModeError
 ├─ ConfigurationError   a missing key, an unknown model, a bad argument: says what to do
 ├─ ToolLoadError        tools, or an MCP server, cannot be loaded
 ├─ ModelError           the request to the model failed, or its reply has no program
 ├─ NoAnswer             the value of a run is asked for that has no answer
 ├─ UnknownRun           no run with that id can be continued
 ├─ ToolCallError        a tool answered with an error
 ├─ JournalError         a journal cannot be read or written
 ├─ UnusableResult       a tool has done its work, and its result cannot be read
 ├─ ToolOutcomeUnknown   a tool gave no answer: its call may have had its effect
 └─ Undecided            an `approve` function leaves a request unanswered
"""

__all__ = [
    "CodeModeError",
    "ConfigurationError",
    "JournalError",
    "ModelError",
    "NoAnswer",
    "ToolCallError",
    "ToolLoadError",
    "ToolOutcomeUnknown",
    "Undecided",
    "UnknownRun",
    "UnusableResult",
]


class CodeModeError(Exception):
    """Base of all errors raised by this package."""


class ConfigurationError(CodeModeError, ValueError):
    """A configuration cannot work; the message says what to change."""


# LangGraph Server tells its clients the message of a built-in exception alone, and so of those that are one, too.
class JournalError(CodeModeError, RuntimeError):
    """A journal cannot be used: it is gone, of another version, or cannot be written."""


class ToolLoadError(CodeModeError, RuntimeError):
    """Tools cannot be loaded: an MCP server does not answer, or an object is no tool."""


class ModelError(CodeModeError, RuntimeError):
    """The request to the model failed, or its reply has no program."""


class NoAnswer(CodeModeError):
    """A run has no answer, so its value cannot be had; the message says why the run failed, or what it waits for."""


class UnknownRun(CodeModeError, KeyError):
    """No run with that id is kept here that can be gone on with: there was none, or, in memory, too many came after it."""

    def __str__(self) -> str:  # A KeyError shows the repr of its message.
        return str(self.args[0])


class ToolCallError(CodeModeError, RuntimeError):
    """A tool answered a call with an error; the message is the tool's own."""


class ToolOutcomeUnknown(CodeModeError):
    """A tool did not answer a call: whether the call had its effect is unknown.

    A tool may raise it; a `TimeoutError` means the same.
    """


class Undecided(CodeModeError):
    """An `approve` function raises it to leave a request unanswered: the run then waits, and can be resumed."""


class UnusableResult(CodeModeError, ValueError):
    """A tool has done its work, and what it returned cannot be read: its call took effect all the same.

    Attributes:
        result: What it returned, for the text that is kept of it; None where there is nothing.
    """

    def __init__(self, message: str, result: object = None) -> None:
        super().__init__(message)
        self.result = result
