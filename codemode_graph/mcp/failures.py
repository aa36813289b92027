"""Why a server gave no answer.

A reason reads after the server's name: "ended with exit status 1", "cannot be reached". It is fit for a program and a
model to see: no host paths, no addresses, no secrets. A detail is for the person who set the server up.
"""

from codemode_graph.errors import ToolOutcomeUnknown

__all__ = [
    "CallFailure",
    "NotDelivered",
    "Refused",
    "ServerLost",
    "ServerLostError",
    "ServerTimeoutError",
    "SessionGone",
]


class CallFailure(Exception):
    """Base of what a connection raises: this request has no answer, for this reason."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason)


class NotDelivered(CallFailure):
    """The server never got the request; the connection is of no more use."""


class SessionGone(NotDelivered):
    """The server no longer knows the session, and did not look at the request."""


class Refused(CallFailure):
    """The server refused this request; the connection stands."""


class ServerLost(CallFailure):
    """The server had the request, or may have had it, and will not answer."""


class ServerLostError(ToolOutcomeUnknown, ConnectionError):
    """An MCP server went away with a call in its hands."""


class ServerTimeoutError(ToolOutcomeUnknown, TimeoutError):
    """An MCP server did not answer a call in time; the call was cancelled."""
