"""What codemode-graph raises.

CodeModeError
 ├─ ConfigurationError   a missing key, an unknown model, a bad argument: says what to do
 ├─ ToolLoadError        tools, or an MCP server, cannot be loaded
 └─ ModelError           the model could not be asked, or gave no program
"""

__all__ = ["CodeModeError", "ConfigurationError", "ModelError", "ToolLoadError"]


class CodeModeError(Exception):
    """Base of all errors raised by this package."""


class ConfigurationError(CodeModeError, ValueError):
    """Something was configured in a way that cannot work; the message says what to change."""


class ToolLoadError(CodeModeError):
    """Tools could not be loaded: an MCP server that does not answer, or an object that is not a tool."""


class ModelError(CodeModeError):
    """The model could not be asked, or its answer held no program."""
