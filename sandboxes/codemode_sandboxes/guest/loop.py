"""An asyncio loop without sockets and threads, whose selector talks to the host; and randomness from a seed."""

import asyncio
import os
import random
import uuid
from asyncio import base_events
from collections.abc import Callable
from typing import Any

from codemode_sandboxes.guest.clock import Clock

__all__ = ["GuestLoop", "draw_seeds", "seed_everything"]

_RESOLUTION = 1e-9

# asyncio wakes at least once a day by itself. Here each wake-up is an event, and this one would mean nothing.
setattr(base_events, "MAXIMUM_SELECT_TIMEOUT", float("inf"))  # noqa: B010

_as_completed = asyncio.as_completed


def as_completed(fs: Any, *, timeout: float | None = None) -> Any:
    """Stand in for `asyncio.as_completed`, which makes its tasks from a set: in another order in each run."""
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
    """The program's event loop. What needs sockets, signals or processes raises `NotImplementedError`.

    Args:
        clock: The program's clock.
        block: Called when no task can run, with the seconds until the next timer, or None where there is none.
    """

    def __init__(self, clock: Clock, block: Callable[[float | None], None]) -> None:
        super().__init__()
        self._clock = clock
        self._clock_resolution = _RESOLUTION
        self._selector = _HostSelector(block)
        # asyncio would log a task's exception that nobody read, and a log is not the program's output.
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        """Return the seconds on the program's clock."""
        return self._clock.elapsed

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run the function at once: there are no threads, and so the order of a run stays the same."""
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


_seed_generator = random.Random.seed


def draw_seeds(seed: int) -> tuple[random.Random, int, int]:
    """Return what a program's seed decides: the source of further seeds, the node of `uuid1`, and the seed of `random`.

    Monty's `random` gets the same seed, so that a run which moves from there draws the same numbers again.
    """
    source = random.Random(seed)
    # The node's 41st bit says that it is no address of a network card.
    return source, source.getrandbits(48) | (1 << 40), source.getrandbits(64)


def seed_everything(seed: int) -> None:
    """Draw all further randomness from this seed, so that two runs of a program draw the same numbers.

    `random`, `uuid`, `secrets` and `os.urandom` all draw from it, so what they return is no secret. Hashes of strings do
    not vary either: the interpreter is started with a fixed hash seed.
    """
    source, node, first = draw_seeds(seed)
    draw, draw_bytes = source.getrandbits, source.randbytes

    def seed_generator(self: random.Random, a: Any = None, version: int = 2) -> None:
        _seed_generator(self, draw(64) if a is None else a, version)

    # Without the C library's functions `uuid1` is made of the clock and of a node, which is drawn: else it would hold the
    # address of this machine's network card.
    for module, name, value in (
        (random.Random, "seed", seed_generator),
        (random, "_urandom", draw_bytes),
        (os, "urandom", draw_bytes),
        (uuid, "_generate_time_safe", None),
        (uuid, "_UuidCreate", None),
        (uuid, "_node", node),
    ):
        setattr(module, name, value)
    random.seed(first)
