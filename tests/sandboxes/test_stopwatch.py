"""A bound on the time in blocks of code: it holds for all together, and for nothing between them."""

import asyncio
import functools
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from codemode_sandboxes.process.execution import Stopwatch


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still, and jumps to the next timer where nothing else is left to do."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        ready = selector.select

        def select(timeout: float | None = None) -> Any:
            self._now += timeout or 0.0
            return ready(0)

        selector.select = select

    def time(self) -> float:
        return self._now


def own_clock(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in such a loop, so that no load of the machine changes what time a block has had."""

    @functools.wraps(test)
    def run() -> None:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(test())  # type: ignore[arg-type]

    return run


@own_clock
async def test_blocks_have_so_much_time_together() -> None:
    watch = Stopwatch(0.6)
    for _ in range(3):
        async with watch:
            await asyncio.sleep(0.1)
    with pytest.raises(TimeoutError):
        async with watch:
            await asyncio.sleep(10)
    with pytest.raises(TimeoutError):  # nothing is left
        async with watch:
            await asyncio.sleep(10)


@own_clock
async def test_no_time_passes_between_blocks() -> None:
    watch = Stopwatch(0.5)
    for _ in range(3):
        async with watch:
            await asyncio.sleep(0)
        await asyncio.sleep(0.25)
    async with watch:
        await asyncio.sleep(0)
    assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]


@own_clock
async def test_a_timer_that_was_set_in_a_block_before_does_not_end_this_one() -> None:
    watch = Stopwatch(0.6)
    async with watch:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.45)
    async with watch:
        await asyncio.sleep(0.3)  # the timer goes off meanwhile
    with pytest.raises(TimeoutError):
        async with watch:
            await asyncio.sleep(10)


@own_clock
async def test_what_is_left_can_be_made_less_and_never_more() -> None:
    watch = Stopwatch(100)
    async with watch:
        await asyncio.sleep(1)
    watch.shorten(0.5)
    watch.shorten(50)
    async with watch:
        await asyncio.sleep(0.25)
    with pytest.raises(TimeoutError):
        async with watch:
            await asyncio.sleep(10)


async def test_a_task_that_is_cancelled_is_cancelled() -> None:
    watch = Stopwatch(10)

    async def work() -> None:
        async with watch:
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_errors_pass() -> None:
    with pytest.raises(ValueError, match="own"):
        async with Stopwatch(10):
            raise ValueError("own")


async def test_a_timer_keeps_nothing() -> None:
    watch = Stopwatch(1000)
    async with watch:
        pass
    reference = weakref.ref(watch)
    del watch
    gc.collect()
    assert reference() is None
