"""Messages to a host, many in one trip: programs that run side by side share Ray's price of a call."""

import asyncio
import pickle
from collections.abc import Callable
from contextvars import Context
from typing import Any

__all__ = ["Exchange", "HostLost"]

_TRIPS = 4  # at one time; the host keeps only the newest waiting, so that one more can soon be sent


class HostLost(Exception):
    """A host is gone, with all runs that it had. The message says how, in one line."""


class Exchange:
    """The messages between one event loop and one host.

    While an answer is due, one trip at least is under way: the host answers it as soon as there is something to say, and at
    once where a newer trip has come.

    Args:
        number: Tells the event loops of a process apart on the host.
        send: Makes a trip: calls the actor with the number and the messages, and returns the future of its answers. Raises
            `HostLost`.
        failed: Returns what the error of a trip means; it ends the host where that is `HostLost`.
    """

    def __init__(
        self, number: int, send: Callable[[int, list[Any]], Any], failed: Callable[[Exception], Exception]
    ) -> None:
        self._number, self._send, self._failed = number, send, failed
        self._loop = asyncio.get_running_loop()
        self._due: dict[int, asyncio.Future[Any]] = {}
        self._queue: list[tuple[Any, ...]] = []
        self._count = self._trips = 0
        self._scheduled = False

    async def ask(self, name: str, *arguments: Any) -> Any:
        """Send a message, and return the answer to it.

        Raises:
            HostLost: What became of the message is unknown.
            Exception: Whatever pickling the arguments raises; then nothing was sent.
        """
        # Each message is pickled by itself: one that cannot be would else take along all others of its trip.
        payload = pickle.dumps(arguments)
        self._count += 1
        number = self._count
        answer = self._due[number] = self._loop.create_future()
        self._queue.append((number, name, payload))
        self._schedule()
        try:
            return pickle.loads(await answer)
        finally:
            self._due.pop(number, None)

    def _schedule(self) -> None:
        if not self._scheduled and self._trips < _TRIPS:
            self._scheduled = True
            # In the loop's next turn, so that what is asked in this one goes along. The context of the caller, which holds
            # all that runs there, such as a graph, is not kept.
            self._loop.call_soon(self._flush, context=Context())

    def _flush(self) -> None:
        self._scheduled = False
        messages, self._queue = self._queue, []
        try:
            trip = asyncio.wrap_future(self._send(self._number, messages), loop=self._loop)
        except Exception as error:
            self._fail(self._failed(error))
            return
        self._trips += 1
        trip.add_done_callback(self._receive)

    def _receive(self, trip: "asyncio.Future[list[tuple[int, Any]]]") -> None:
        self._trips -= 1
        if trip.cancelled():
            self._fail(HostLost("its connection was closed"))
        elif (error := trip.exception()) is not None:
            self._fail(self._failed(error) if isinstance(error, Exception) else HostLost(repr(error)))
        else:
            for number, answer in trip.result():
                if (due := self._due.get(number)) is not None and not due.done():
                    due.set_result(answer)
        if self._queue or (not self._trips and any(not due.done() for due in self._due.values())):
            self._schedule()

    def _fail(self, error: Exception) -> None:
        self._queue = []
        for due in self._due.values():
            if not due.done():
                due.set_exception(error)
