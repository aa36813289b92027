"""What a run does, as MCP progress notifications."""

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Self

import anyio
from mcp.server.session import ServerSession
from mcp.shared.context import RequestContext

from codemode_graph.events import Event
from codemode_graph.metrics import Metrics
from codemode_graph.preview import sample

__all__ = ["Notifications", "describe"]


class Notifications:
    """Tells the client that made a request what its run does, where the client asked for progress.

    A `Watcher`, to be entered for the time of the run. What was seen until it is left has been sent then.
    """

    def __init__(self, context: RequestContext[ServerSession, Any, Any]) -> None:
        self._session, self._request = context.session, str(context.request_id)
        self._token = context.meta.progressToken if context.meta else None
        self._messages: asyncio.Queue[str | None] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._sending = asyncio.create_task(self._send())
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._messages.put_nowait(None)
        try:
            await self._sending
        finally:
            self._sending.cancel()

    def show(self, event: Event) -> None:
        """Take what is told next."""
        if self._token is not None and (message := describe(event)):
            self._messages.put_nowait(message)

    def stop(self) -> None:
        """Nothing is told of a run that waits."""

    def end(self, used: Metrics) -> None:
        """Nothing is told of what it used."""

    async def _send(self) -> None:
        number = 0
        while (message := await self._messages.get()) is not None:
            number += 1
            assert self._token is not None
            # A client that has gone needs no news, and its request is cancelled elsewhere.
            with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                await self._session.send_progress_notification(
                    self._token, float(number), message=message, related_request_id=self._request
                )


def describe(event: Event) -> str | None:
    """One event in one line; None for what is of no use to a person who waits."""
    match event["type"]:
        case "attempt":
            return f"attempt {event['number']}"
        case "check":
            return "\n".join(finding["message"] for finding in event["findings"]) or "checked"
        case "call_started":
            return f"calling {event['tool']} with {sample(event['arguments'], limit=100)}"
        case "call_finished":
            error = event["error"]
            return f"{event['tool']}: {error['message'] if error else 'done'}"
        case "call_answered":
            return f"{event['tool']} answered from the journal"
        case "call_pending":
            return f"{event['tool']} waits for a person"
        case "outcome" if event["error"]:
            return str(event["error"]["message"])
    return None
