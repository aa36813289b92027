"""The threads that wait for Monty's processes."""

import asyncio
import errno
import gc
import os
import threading
import time
from typing import Any

import pytest
from codemode_sandboxes import Blocked, Limits, Program, Returned, SandboxClosed, SandboxUnavailable
from codemode_sandboxes.monty import MontySandbox
from codemode_sandboxes.monty.workers import JobThread

from tests.sandboxes.driving import run
from tests.sandboxes.processes import computing, gone


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "codemode-monty"}


async def ended(some: set[threading.Thread]) -> bool:
    for thread in some:
        await asyncio.to_thread(thread.join, 5)
    return not any(thread.is_alive() for thread in some)


async def test_a_line_calls_one_after_the_other_and_gives_back_what_came_of_it() -> None:
    line = JobThread()
    called: list[int] = []

    def call(number: int) -> int:
        time.sleep(0.01 * (3 - number))
        called.append(number)
        return 10 // number

    results = await asyncio.gather(*(line.do(lambda n=n: call(n)) for n in (1, 0, 2)), return_exceptions=True)  # type: ignore[misc]
    assert called == [1, 0, 2]
    assert results[0] == 10
    assert isinstance(results[1], ZeroDivisionError)
    assert results[2] == 5
    line.end()


async def test_what_is_given_up_is_called_all_the_same() -> None:
    line, called = JobThread(), threading.Event()
    line.do(lambda: time.sleep(0.05))
    line.do(called.set).cancel()
    await line.do(lambda: None)
    assert called.is_set()
    line.end()


async def test_a_line_ends_by_word_and_where_nobody_holds_it() -> None:
    before = threads()
    told, forgotten = JobThread(), JobThread()
    begun = threads() - before
    assert len(begun) == 2
    told.end()
    held: list[Any] = [forgotten]
    await forgotten.do(lambda: None)
    del forgotten, held
    gc.collect()
    assert await ended(begun)


def test_a_line_outlives_its_event_loop_in_peace() -> None:
    async def begin() -> JobThread:
        line = JobThread()
        line.do(lambda: time.sleep(0.1))
        return line

    before = threads()
    line = asyncio.run(begin())
    begun = threads() - before
    line.end()
    asyncio.run(ended(begun))
    assert not any(thread.is_alive() for thread in begun)


async def test_runs_take_turns_with_threads_and_closing_ends_them() -> None:
    before = threads()
    sandbox = MontySandbox(max_workers=4)
    for _ in range(3):
        await asyncio.gather(*(run(sandbox, "1") for _ in range(10)))
    begun = threads() - before
    assert 0 < len(begun) <= 4
    await sandbox.aclose()
    assert await ended(begun)


async def test_where_no_thread_can_be_started_a_run_says_so_and_holds_no_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sandbox = MontySandbox(max_workers=1, checkout_timeout=5)

    def refused(self: threading.Thread) -> None:
        if self.name == "codemode-monty":
            raise RuntimeError("can't start new thread")
        start(self)

    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", refused)
    for _ in range(2):
        with pytest.raises(SandboxUnavailable, match="can't start new thread"):
            await sandbox.start(Program(code="1"))
    monkeypatch.undo()
    assert (await run(sandbox, "1 + 1")).value == 2
    await sandbox.aclose()


async def test_what_was_printed_up_to_the_limit_is_told() -> None:
    sandbox = MontySandbox()
    program = "print('abc')\nawait tools.a()\nprint('de')\nprint('x' * 100)\nwhile True:\n    pass"
    execution = await sandbox.start(Program(code=program, tools=("a",)), Limits(seconds=20, output_bytes=20))
    event = await execution.advance()
    assert isinstance(event, Blocked)
    failed = await execution.advance({1: Returned(None)})
    assert (event.stdout, failed.stdout) == ("abc\n", "de\n" + "x" * 13)
    await sandbox.aclose()


async def test_a_program_is_ended_also_where_the_kernel_gives_no_descriptor_of_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(pid: int) -> int:
        raise OSError(errno.ENOSYS, "not implemented")

    monkeypatch.setattr(os, "pidfd_open", refused, raising=False)
    sandbox = MontySandbox()
    execution = await sandbox.start(Program(code="while True:\n    pass"), Limits(seconds=100))
    advancing = asyncio.create_task(execution.advance())
    pid = execution._worker.pid
    assert pid is not None
    await computing(pid)
    await execution.aclose()
    assert await gone(pid)
    with pytest.raises(SandboxClosed):
        await advancing
    await sandbox.aclose()
