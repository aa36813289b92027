"""A bound on the time in blocks of code: it holds for all together, and for nothing between them."""

import asyncio
import gc
import weakref

import pytest
from codemode_sandboxes.process.execution import Stopwatch


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


async def test_no_time_passes_between_blocks() -> None:
    watch = Stopwatch(0.5)
    for _ in range(3):
        async with watch:
            await asyncio.sleep(0)
        await asyncio.sleep(0.25)
    async with watch:
        await asyncio.sleep(0)
    assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]


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
