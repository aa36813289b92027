"""Why a call got no answer.

A reason reads after the server's name: "ended with exit status 1", "cannot be reached". It is fit for a program and a
model to see: no host paths, no secrets.
"""

from codemode_graph.errors import CodeModeError, ToolOutcomeUnknown

__all__ = ["CallFailure", "CallTimeout", "NotDelivered", "Refused", "ServerGone", "ServerLost", "SessionGone"]


class CallFailure(Exception):
    """Base of the reasons that a connection gives."""


class NotDelivered(CallFailure):
    """The server never got the call, and is not there."""


class SessionGone(NotDelivered):
    """The server does not know the session any more, and did not look at the call."""


class Refused(CallFailure):
    """The server refused this call; the session stands."""


class ServerLost(CallFailure):
    """The server had the call, or may have had it, and will not answer."""
