"""The model: its prompts (text files, filled in), the request, the program in its reply."""

from codemode_graph.model.repair_message import is_unchanged, repair_message
from codemode_graph.model.system import (
    agent_message,
    example_messages,
    program_tool_description,
    request_message,
    system_message,
    tools_message,
)

__all__ = [
    "agent_message",
    "example_messages",
    "is_unchanged",
    "program_tool_description",
    "repair_message",
    "request_message",
    "system_message",
    "tools_message",
]
