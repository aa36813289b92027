"""An asyncio loop without sockets or threads, whose selector is the conversation with the host."""

import asyncio
import os
import random
import uuid
from asyncio import base_events
from collections.abc import Callable
from typing import Any

from codemode_sandboxes.guest.clock import Clock

__all__ = ["GuestLoop", "seed_everything"]

_RESOLUTION = 1e-9

# asyncio wakes once a day by itself; here that would be an event that tells the host nothing.
setattr(base_events, "MAXIMUM_SELECT_TIMEOUT", float("inf"))  # noqa: B010

_as_completed = asyncio.as_completed


def as_completed(fs: Any, *, timeout: float | None = None) -> Any:
    """Stand in for `asyncio.as_completed`, which makes its tasks in the order of their addresses."""
    if not (asyncio.isfuture(fs) or asyncio.iscoroutine(fs)):
        fs = [asyncio.ensure_future(each) for each in dict.fromkeys(fs)]
    return _as_completed(fs, timeout=timeout)


for _module in (asyncio, asyncio.tasks):
    setattr(_module, "as_completed", as_completed)  # noqa: B010


class _HostSelector:
    def __init__(self, block: Callable[[float | None], None]) -> None:
        self._block = block

    def select(self, timeout: float | None) -> list[Any]:
        # A timer that is nearer than the clock's resolution is due: the loop fires it without help.
        if timeout is None or timeout >= _RESOLUTION:
            self._block(timeout)
        return []


class GuestLoop(asyncio.BaseEventLoop):
    """The loop. What needs sockets, signals or processes raises `NotImplementedError`, as asyncio's base does.

    Args:
        clock: Its time.
        block: Called when nothing else can run, with the seconds until the next timer, or None.
    """

    def __init__(self, clock: Clock, block: Callable[[float | None], None]) -> None:
        super().__init__()
        self._clock = clock
        self._clock_resolution = _RESOLUTION
        self._selector = _HostSelector(block)
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        """Seconds on the program's clock."""
        return self._clock.elapsed

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run the function at once: there are no threads, and the order of a run stays fixed."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except StopIteration:
            future.set_exception(RuntimeError("the function raised StopIteration"))
        except Exception as error:
            future.set_exception(error)
        return future

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


_seed_one = random.Random.seed


def seed_everything(seed: int) -> None:
    """Draw all further randomness from this seed."""
    source = random.Random(seed)
    draw, drawn_bytes = source.getrandbits, source.randbytes

    def seed_generator(self: random.Random, a: Any = None, version: int = 2) -> None:
        _seed_one(self, draw(64) if a is None else a, version)

    for module, name, value in (
        (random.Random, "seed", seed_generator),
        (random, "_urandom", drawn_bytes),
        (os, "urandom", drawn_bytes),
        (uuid, "_generate_time_safe", None),
        (uuid, "_UuidCreate", None),
        (uuid, "_node", draw(48) | (1 << 40)),
    ):
        setattr(module, name, value)
    random.seed(draw(64))
