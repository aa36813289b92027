"""Code mode as an MCP server, for agents in any language."""

from codemode_graph.integrations.mcp_server.http import create_http_app
from codemode_graph.integrations.mcp_server.server import RunReport, create_mcp_server

__all__ = ["RunReport", "create_http_app", "create_mcp_server"]
