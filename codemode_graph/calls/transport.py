"""The exceptions of a tool that leave it open whether its call took effect.

A tool that raises has failed, by contract: nothing happened. But a time-out, a connection that is lost after something was
sent, and a cancellation say nothing of the kind. Exceptions are known by the names of their classes, so that no client
library is imported for it.
"""

import asyncio
from collections.abc import Iterator, Sequence

from codemode_graph.errors import ToolOutcomeUnknown

_NOT_SENT = {
    # The other side was never reached: refused, not found, no free connection, nothing that could be sent.
    "builtins.ConnectionRefusedError", "socket.gaierror", "socket.herror", "ssl.SSLCertVerificationError",
    "httpx.ConnectError", "httpx.ConnectTimeout", "httpx.PoolTimeout", "httpx.UnsupportedProtocol", "httpx.InvalidURL",
    "httpx.LocalProtocolError", "httpx.ProxyError",
    "httpcore.ConnectError", "httpcore.ConnectTimeout", "httpcore.PoolTimeout", "httpcore.UnsupportedProtocol",
    "httpcore.LocalProtocolError", "httpcore.ProxyError",
    "requests.exceptions.ConnectTimeout", "requests.exceptions.InvalidURL", "requests.exceptions.MissingSchema",
    "requests.exceptions.InvalidSchema", "requests.exceptions.ProxyError", "requests.exceptions.SSLError",
    "urllib3.exceptions.NewConnectionError", "urllib3.exceptions.ConnectTimeoutError",
    "urllib3.exceptions.NameResolutionError", "urllib3.exceptions.LocationParseError", "urllib3.exceptions.ProxyError",
    "urllib3.exceptions.EmptyPoolError", "urllib3.exceptions.ClosedPoolError",
    "aiohttp.client_exceptions.ClientConnectorError", "aiohttp.client_exceptions.ConnectionTimeoutError",
    "aiohttp.client_exceptions.InvalidURL", "aiohttp.client_exceptions.ClientProxyConnectionError",
    "aiohttp.client_exceptions.ClientSSLError",
    "pydantic_core._pydantic_core.ValidationError", "pydantic_core.ValidationError",
}  # fmt: skip
_MAYBE_SENT = {
    "builtins.TimeoutError", "asyncio.exceptions.TimeoutError", "concurrent.futures._base.TimeoutError",
    "asyncio.exceptions.CancelledError", "concurrent.futures._base.CancelledError",
    "asyncio.exceptions.IncompleteReadError",
    "builtins.ConnectionResetError", "builtins.ConnectionAbortedError", "builtins.BrokenPipeError", "builtins.EOFError",
    "http.client.RemoteDisconnected", "http.client.IncompleteRead", "http.client.BadStatusLine",
    "ssl.SSLEOFError", "ssl.SSLZeroReturnError",
    "anyio.EndOfStream", "anyio.BrokenResourceError", "anyio.ClosedResourceError",
    "httpx.TimeoutException", "httpx.NetworkError", "httpx.RemoteProtocolError", "httpx.DecodingError",
    "httpx.StreamError",
    "httpcore.TimeoutException", "httpcore.NetworkError", "httpcore.RemoteProtocolError",
    "requests.exceptions.Timeout", "requests.exceptions.ConnectionError", "requests.exceptions.ChunkedEncodingError",
    "requests.exceptions.ContentDecodingError", "requests.exceptions.RetryError",
    "urllib3.exceptions.TimeoutError", "urllib3.exceptions.ProtocolError", "urllib3.exceptions.IncompleteRead",
    "urllib3.exceptions.MaxRetryError",
    "aiohttp.client_exceptions.ServerConnectionError", "aiohttp.client_exceptions.ClientOSError",
    "aiohttp.client_exceptions.ClientPayloadError", "aiohttp.client_exceptions.ClientConnectionError",
    "websockets.exceptions.ConnectionClosed",
    "botocore.exceptions.ReadTimeoutError", "botocore.exceptions.ConnectionClosedError",
}  # fmt: skip
_GRPC_MAYBE = {"CANCELLED", "UNKNOWN", "DEADLINE_EXCEEDED", "ABORTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
# Codes by which MCP clients say that a request timed out, or that the connection was closed.
_MCP_MAYBE = {408, -32000, -32001}
# Answers of proxies and servers that did not hear the end of a request: request timeout, bad gateway, gateway
# timeout.
_HTTP_MAYBE = {408, 502, 504}


def may_have_taken_effect(error: BaseException, more: Sequence[type[BaseException]] = ()) -> bool:
    """Tell whether a call that raised may have taken effect all the same.

    Looks at the exception, at those of a group, and at those that it was raised from: a client that wraps a time-out has
    sent its request as well.

    Args:
        error: What the tool raised.
        more: Further exceptions that say so, from the tool's policy.
    """
    return any(_may(each, tuple(more)) for each in _family(error))


def _family(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    queue: list[BaseException] = [error]
    while queue:
        each = queue.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            queue += each.exceptions
        # What was never sent stays so, whatever lower errors it was made of: a connect time-out comes from a time-out.
        if _names(each) & _NOT_SENT:
            continue
        if each.__cause__ is not None:
            queue.append(each.__cause__)
        elif each.__context__ is not None and not each.__suppress_context__:
            queue.append(each.__context__)
        queue += [part for part in each.args if isinstance(part, BaseException)]
        reason = getattr(each, "reason", None)  # urllib3 and urllib keep the cause there
        if isinstance(reason, BaseException):
            queue.append(reason)


def _may(error: BaseException, more: tuple[type[BaseException], ...]) -> bool:
    if isinstance(error, (ToolOutcomeUnknown, asyncio.CancelledError, *more)):
        return True
    names = _names(error)
    if names & _NOT_SENT or _refused_below(error):
        return False
    if names & _MAYBE_SENT:
        return True
    if any(name.startswith("grpc.") for name in names):
        return _grpc_code(error) in _GRPC_MAYBE
    if any(name.endswith(".McpError") or name.endswith(".MCPError") for name in names):
        return getattr(getattr(error, "error", None), "code", None) in _MCP_MAYBE
    status = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "status", None)
    return type(status) is int and status in _HTTP_MAYBE


def _names(error: BaseException) -> set[str]:
    """Return the names of an exception's classes, with packages in place of their private modules."""
    names = set()
    for each in type(error).__mro__:
        names.add(f"{each.__module__}.{each.__qualname__}")
        package = each.__module__.partition(".")[0]
        # httpx2, with which mcp 2 sends, has the same exceptions as httpx.
        package = package.removesuffix("2")
        if package in ("httpx", "httpcore", "anyio", "grpc"):
            names.add(f"{package}.{each.__qualname__}")
    return names


def _refused_below(error: BaseException) -> bool:
    """Tell whether a general connection error comes from one that was never made, as those of requests do."""
    general = {"requests.exceptions.ConnectionError", "urllib3.exceptions.MaxRetryError"}
    if not _names(error) & general:
        return False
    return any(_names(each) & _NOT_SENT for each in _family(error) if each is not error)


def _grpc_code(error: BaseException) -> str:
    code = getattr(error, "code", None)
    if not callable(code):
        return ""
    return str(getattr(code(), "name", ""))
