"""Reasons why a server gave no answer.

A reason reads after the server's name: "ended with exit status 1", "cannot be reached". Programs and models see it, so it
has no host paths, no addresses and no secrets. A detail is for the person who configures the server.
"""

from typing import Any

from codemode_graph.errors import ToolOutcomeUnknown
from codemode_graph.mcp.config import StdioConnection
from codemode_graph.mcp_sdk import McpError, httpx

_UNREACHED = "cannot be reached"
# Errors that rise before the request leaves this machine.
UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


class CallFailure(Exception):
    """Base of the errors of a connection: a request has no answer, for this reason."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason)


class NotDelivered(CallFailure):
    """The server never got the request; the connection cannot be used any more."""


class SessionGone(NotDelivered):
    """The server no longer knows the session, and did not look at the request."""


class Refused(CallFailure):
    """The server refused this request; the connection stands."""


class ServerLost(CallFailure):
    """The server had the request, or may have had it, and will not answer."""


class ServerLostError(ToolOutcomeUnknown, ConnectionError):
    """An MCP server was lost during a call."""


class ServerTimeoutError(ToolOutcomeUnknown, TimeoutError):
    """An MCP server did not answer a call in time; the call was cancelled."""


def explain(error: Exception, connection: Any) -> CallFailure:
    """Return the reason for which a connection failed to open, or broke.

    Args:
        error: The error of the transport.
        connection: The server's connection in its `ServerConfig`.
    """
    while isinstance(error, ExceptionGroup):  # mcp's transports run in task groups.
        error = error.exceptions[0]
    if isinstance(error, httpx.TransportError):
        error = NotDelivered(reason_of(error))
    if isinstance(error, NotDelivered) and error.reason == _UNREACHED:
        return NotDelivered(error.reason, _address_hint(connection))
    if isinstance(error, CallFailure):
        return error
    if isinstance(error, McpError):
        return Refused("refused to start", error.error.message)
    if isinstance(error, httpx.HTTPStatusError):
        return Refused(f"answered HTTP {error.response.status_code} {error.response.reason_phrase}".rstrip())
    if isinstance(error, OSError) and connection["transport"] == "stdio":
        return NotDelivered("cannot be started", _start_problem(error, connection))
    return NotDelivered("broke the protocol", str(error) or type(error).__name__)


def reason_of(error: httpx.TransportError) -> str:
    """Return the reason behind an error of the transport, without its address."""
    if isinstance(error, httpx.LocalProtocolError):
        return "was not asked, as HTTP does not allow what is in its headers"
    if isinstance(error, UNSENT):
        return _UNREACHED
    return "took too long to answer" if isinstance(error, httpx.TimeoutException) else "broke the connection"


def _address_hint(connection: Any) -> str:
    url = httpx.URL(connection["url"])
    port = "" if url.port is None else f":{url.port}"
    return f"is it running at {url.scheme}://{url.host}{port}?"


def _start_problem(error: OSError, connection: StdioConnection) -> str:
    if error.filename == connection["command"]:
        if isinstance(error, FileNotFoundError):
            return f"there is no command {error.filename!r}; install it, or give its full path"
        return f"{error.filename!r} is not a program that may be run"
    return f"{error.strerror}: {error.filename}"
