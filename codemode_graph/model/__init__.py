"""What the model reads: text files, and the thin renderers that fill them in."""

from codemode_graph.model.repair import repair_message
from codemode_graph.model.system import agent_message, program_tool_description, system_message

__all__ = ["agent_message", "program_tool_description", "repair_message", "system_message"]
