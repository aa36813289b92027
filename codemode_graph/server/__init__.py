"""The graphs that LangGraph Server serves, and what they are made of: `langgraph.json` names them.

Their settings come from environment variables, see `codemode_graph.server.environment`.
"""

from codemode_graph.server.factories import agent, chat, codemode, composed

__all__ = ["agent", "chat", "codemode", "composed"]
