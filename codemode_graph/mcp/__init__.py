"""The tools of MCP servers: held sessions, plain values, clear errors."""

from codemode_graph.mcp.loader import MCPToolLoader

__all__ = ["MCPToolLoader"]
