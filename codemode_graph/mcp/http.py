"""The HTTP client under a server's SSE or streamable HTTP session."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
from mcp.types import RequestId

from codemode_graph.mcp.diagnosis import UNSENT, CallFailure, NotDelivered, Refused, ServerLost, SessionGone, reason_of

__all__ = ["ReportingClient"]

_MAX_REFUSAL_BYTES = 64 * 1024


class ReportingClient(httpx.AsyncClient):
    """Reports every message that gets no answer to whoever waits for it.

    mcp's transports drop such a message in silence, so that its caller waits for ever, or they give up the whole
    session with every other call on it. Here they see it accepted (HTTP 202), and the caller hears of it through
    `on_failure`.

    Args:
        on_failure: Called with the id of a request and the reason why it will not be answered.
        on_events_end: Called when a stream of events that belongs to no request has ended.
        **options: As for `httpx.AsyncClient`.
    """

    def __init__(
        self,
        *,
        on_failure: Callable[[RequestId, CallFailure], None],
        on_events_end: Callable[[], None] | None = None,
        **options: Any,
    ) -> None:
        # One connection a call in flight: a full pool would look like a server that cannot be reached.
        super().__init__(limits=httpx.Limits(max_connections=None, max_keepalive_connections=20), **options)
        self._on_failure = on_failure
        self._on_events_end = on_events_end

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send as `httpx.AsyncClient.send` does; a message of the session never raises."""
        if request.method == "GET":
            response = await super().send(request, **options)
            if _is_event_stream(response):
                response.stream = _Events(response.stream, on_end=lambda reason: self._events_ended())
            return response
        id = _request_id(request)
        try:
            response = await super().send(request, **options)
        except httpx.TransportError as error:
            failure = NotDelivered if isinstance(error, UNSENT) else ServerLost
            return self._accepted(request, id, failure(reason_of(error)))
        if response.status_code >= 400:
            return self._accepted(request, id, await _refusal(request, response))
        if id is not None and _is_event_stream(response):
            response.stream = _Events(response.stream, on_end=lambda reason: self._on_failure(id, ServerLost(reason)))
        return response

    def _events_ended(self) -> None:
        if self._on_events_end is not None:
            self._on_events_end()

    def _accepted(self, request: httpx.Request, id: RequestId | None, failure: CallFailure) -> httpx.Response:
        if id is not None:
            self._on_failure(id, failure)
        return httpx.Response(204 if request.method == "DELETE" else 202, request=request)


class _Events(httpx.AsyncByteStream):
    """An event stream that ends where it breaks, and tells when it ended before its reader had what it wanted."""

    def __init__(self, stream: Any, *, on_end: Callable[[str], None]) -> None:
        self._stream: httpx.AsyncByteStream = stream
        self._on_end = on_end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        resumable = False
        try:
            async for chunk in self._stream:
                resumable = resumable or b"id:" in chunk
                yield chunk
        except httpx.TransportError as error:
            self._on_end(reason_of(error))
            return
        # A server may close a stream whose events bear ids on purpose; mcp then asks for the rest of it.
        if not resumable:
            self._on_end("closed the connection")

    async def aclose(self) -> None:
        await self._stream.aclose()


def _is_event_stream(response: httpx.Response) -> bool:
    return str(response.headers.get("content-type", "")).lower().startswith("text/event-stream")


async def _refusal(request: httpx.Request, response: httpx.Response) -> CallFailure:
    body = b""
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _MAX_REFUSAL_BYTES:
                break
        message = json.loads(body)["error"]["message"]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        message = None
    finally:
        await response.aclose()
    reason = f"answered HTTP {response.status_code} {response.reason_phrase}".rstrip()
    if isinstance(message, str) and message:
        reason += f": {message}"
    if response.status_code in (httpx.codes.BAD_GATEWAY, httpx.codes.GATEWAY_TIMEOUT):
        return ServerLost(reason)  # what is behind the gateway may be at work
    # MCP asks for 404 here; servers written after the TypeScript examples answer 400 and speak of the session.
    unknown_session = response.status_code == httpx.codes.NOT_FOUND or (
        response.status_code == httpx.codes.BAD_REQUEST and isinstance(message, str) and "session" in message.lower()
    )
    return SessionGone(reason) if unknown_session and "mcp-session-id" in request.headers else Refused(reason)


def _request_id(request: httpx.Request) -> RequestId | None:
    """The id of the JSON-RPC request in the body; a notification has none."""
    if request.method != "POST":
        return None
    message = json.loads(request.content)
    return message.get("id") if "method" in message else None
