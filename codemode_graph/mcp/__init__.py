"""The tools of MCP servers: held sessions, plain values, clear errors."""

from codemode_graph.mcp.loader import MCPToolLoader
from codemode_graph.mcp.pool import MCPPool

__all__ = ["MCPPool", "MCPToolLoader"]
