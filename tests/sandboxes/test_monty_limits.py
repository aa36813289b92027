"""Monty's limits hold promptly, and no fault of a program, a worker or a host outlives its run."""

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import codemode_sandboxes.monty.workers
import pytest
from codemode_sandboxes import (
    Blocked,
    Failed,
    FailureKind,
    Finished,
    Limits,
    Program,
    Returned,
    SandboxClosed,
    SandboxUnavailable,
)
from codemode_sandboxes.monty import MontySandbox
from codemode_sandboxes.monty.session import MontyExecution

from tests.sandboxes.driving import echo, run
from tests.sandboxes.processes import alive, children, computing, gone

MB = 1024 * 1024


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[MontySandbox]:
    sandbox = MontySandbox(max_workers=2)
    yield sandbox
    await sandbox.aclose()


async def start(sandbox: MontySandbox, code: str, *tools: str, limits: Limits | None = None) -> MontyExecution:
    return await sandbox.start(Program(code=code, tools=tools), limits or Limits(seconds=10))


def worker(execution: MontyExecution) -> int:
    pid = execution._worker.pid
    assert pid is not None
    return pid


def workers() -> set[int]:
    """Return the Monty processes that this process has."""
    return {pid for pid in children(os.getpid()) if alive(pid) and name(pid) == "monty"}


def name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


async def still_works(sandbox: MontySandbox) -> bool:
    results = await asyncio.gather(*(run(sandbox, "await tools.echo(1)", {"echo": echo}) for _ in range(4)))
    return [result.value for result in results] == [[[1], {}]] * 4


ATTACKS: list[tuple[str, FailureKind, Limits]] = [
    ("while True:\n    pass", "timeout", Limits(seconds=0.2)),
    (
        "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass",
        "timeout",
        Limits(seconds=0.2),
    ),
    ("def f():\n    try:\n        return 1\n    finally:\n        f()\nf()", "program", Limits(seconds=0.5)),
    ("sum(range(10**12))", "timeout", Limits(seconds=0.2)),
    ("7 ** (10**7)", "timeout", Limits(seconds=0.2, memory_bytes=64 * MB)),
    ("exec('while True: pass')", "timeout", Limits(seconds=0.2)),
    ("'a' * 10**10", "memory", Limits(seconds=5, memory_bytes=32 * MB)),
    ("try:\n    'a' * 10**10\nexcept BaseException:\n    pass", "memory", Limits(seconds=5, memory_bytes=32 * MB)),
    ("a = []\nwhile True:\n    a.append('x' * 1000)", "memory", Limits(seconds=5, memory_bytes=32 * MB)),
    ("a = 'x'\nwhile True:\n    a += a", "memory", Limits(seconds=5, memory_bytes=32 * MB)),
    ("10 ** 10 ** 8", "memory", Limits(seconds=5, memory_bytes=32 * MB)),
    ("1", "memory", Limits(seconds=5, memory_bytes=1)),
    ("while True:\n    print('x' * 1000)", "output", Limits(seconds=60, output_bytes=100_000)),
    ("print('x' * 1000, end='')\n5", "output", Limits(seconds=5, output_bytes=999)),
    ("for i in range(100):\n    print('é' * 10)\n1 / 0", "output", Limits(seconds=5, output_bytes=500)),
    ("while True:\n    await tools.echo()", "calls", Limits(seconds=5, calls=20)),
    (
        "import asyncio\nawait asyncio.gather(*[tools.echo() for i in range(10**6)])",
        "calls",
        Limits(seconds=5, calls=50),
    ),
    ("while True:\n    tools.echo()", "calls", Limits(seconds=5, calls=20)),
    ("import asyncio\nwhile True:\n    await asyncio.sleep(0)", "calls", Limits(seconds=5, calls=1)),
    ("import time\nwhile True:\n    time.time()", "calls", Limits(seconds=5, calls=1)),
    ("def f(n):\n    return f(n + 1)\nf(0)", "program", Limits(seconds=5)),
]


@pytest.mark.parametrize(("code", "kind", "limits"), ATTACKS, ids=range(len(ATTACKS)))
async def test_a_limit_ends_the_run_with_its_kind(
    sandbox: MontySandbox, code: str, kind: FailureKind, limits: Limits
) -> None:
    result = await run(sandbox, code, {"echo": echo}, limits=limits)
    assert result.failed.kind == kind
    assert len(result.stdout.encode()) <= limits.output_bytes
    assert await still_works(sandbox)


async def test_catastrophic_patterns_end(sandbox: MontySandbox) -> None:
    for pattern, text in (("(a+)+$", "'a' * 40 + 'b'"), (r"(a*)*\1b", "'a' * 60"), ("(a|a)*c", "'a' * 100")):
        await run(sandbox, f"import re\nre.match(r'{pattern}', {text})", limits=Limits(seconds=0.5))


async def test_a_limit_is_named_in_the_message(sandbox: MontySandbox) -> None:
    messages = {
        "while True:\n    pass": "0.1 seconds",
        "'a' * 10**10": "32 MB",
        "print('x' * 2000)": "1,000 bytes",
        "[tools.echo() for i in range(4)]": "3 tool calls",
    }
    for code, words in messages.items():
        seconds = 0.1 if "seconds" in words else 60
        limits = Limits(seconds=seconds, memory_bytes=32 * MB, output_bytes=1000, calls=3)
        assert words in (await run(sandbox, code, {"echo": echo}, limits=limits)).failed.message


async def test_waiting_for_tools_and_sleeping_costs_no_computing_time(sandbox: MontySandbox) -> None:
    code = "import asyncio\nawait tools.a()\nawait asyncio.sleep(100)\nawait tools.a()"
    execution = await start(sandbox, code, "a", limits=Limits(seconds=0.5))
    await execution.advance()
    await asyncio.sleep(0.6)
    await execution.advance({1: Returned(0)})
    await execution.advance(elapsed=100)
    assert await execution.advance({2: Returned("late")}) == Finished("late")


async def test_an_answer_larger_than_the_memory_ends_the_run_alone(sandbox: MontySandbox) -> None:
    execution = await start(sandbox, "len(await tools.a())", "a", limits=Limits(memory_bytes=16 * MB))
    await execution.advance()
    failed = await execution.advance({1: Returned("x" * (40 * MB))})
    assert isinstance(failed, Failed)
    assert failed.kind == "memory"
    assert await still_works(sandbox)


async def test_all_that_is_printed_before_an_event_is_in_it(sandbox: MontySandbox) -> None:
    code = "import sys\nprint('a')\nprint('b\\x00', file=sys.stderr)\nawait tools.a()\nprint('c', end='')\n1 / 0"
    for _ in range(30):
        execution = await start(sandbox, code, "a")
        event = await execution.advance()
        assert isinstance(event, Blocked)
        assert event.stdout == "a\nb\ufffd\n"
        failed = await execution.advance({1: Returned(None)})
        assert isinstance(failed, Failed)
        assert failed.stdout == "c"


# Death and cancellation


async def test_a_worker_that_is_killed_while_a_call_is_open_is_a_failure(sandbox: MontySandbox) -> None:
    execution = await start(sandbox, "await tools.a()", "a")
    await execution.advance()
    os.kill(worker(execution), signal.SIGKILL)
    failed = await execution.advance({1: Returned(0)})
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.message) == ("died", "the sandbox's process died")
    assert await still_works(sandbox)


async def test_a_worker_that_is_killed_while_it_computes_is_a_failure(sandbox: MontySandbox) -> None:
    execution = await start(sandbox, "await tools.a()\nwhile True:\n    pass", "a", limits=Limits(seconds=20))
    await execution.advance()
    asyncio.get_running_loop().call_later(0.05, os.kill, worker(execution), signal.SIGKILL)
    failed = await execution.advance({1: Returned(0)})
    assert isinstance(failed, Failed)
    assert failed.kind == "died"
    assert await still_works(sandbox)


async def test_cancelling_an_advance_ends_the_run_and_its_worker(sandbox: MontySandbox) -> None:
    execution = await start(sandbox, "await tools.a()\nwhile True:\n    pass", "a", limits=Limits(seconds=20))
    await execution.advance()
    pid = worker(execution)
    advancing = asyncio.create_task(execution.advance({1: Returned(0)}))
    await computing(pid)  # a worker that has not been told to go on is kept
    advancing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await advancing
    assert await gone(pid)
    with pytest.raises(SandboxClosed):
        await execution.advance()
    assert await still_works(sandbox)


async def test_cancelling_a_start_that_waits_for_a_worker_takes_none() -> None:
    sandbox = MontySandbox(max_workers=1)
    first = await start(sandbox, "1")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(start(sandbox, "2"), 0.05)
    await first.aclose()
    assert (await run(sandbox, "3")).value == 3
    await sandbox.aclose()


async def test_closing_ends_a_run_in_any_state_and_may_be_repeated(sandbox: MontySandbox) -> None:
    fresh = await start(sandbox, "1")
    await fresh.aclose()
    waiting = await start(sandbox, "await tools.a()", "a")
    await waiting.advance()
    await waiting.aclose()
    ended = await start(sandbox, "1")
    await ended.advance()
    for execution in (fresh, waiting, ended):
        await execution.aclose()
        with pytest.raises(SandboxClosed):
            await execution.advance({1: Returned(0)})
    assert await still_works(sandbox)


async def test_closing_while_it_computes_ends_the_run(sandbox: MontySandbox) -> None:
    execution = await start(sandbox, "while True:\n    pass", limits=Limits(seconds=20))
    running = asyncio.create_task(execution.advance())
    await asyncio.sleep(0.05)
    await execution.aclose()
    with pytest.raises(SandboxClosed):
        await running
    assert await still_works(sandbox)


# Pools


async def test_closing_the_sandbox_ends_its_runs_and_processes_and_it_can_be_used_again() -> None:
    before = workers()
    sandbox = MontySandbox(max_workers=4)
    executions = [await start(sandbox, "await tools.a()", "a") for _ in range(3)]
    for execution in executions:
        await execution.advance()
    assert len(workers() - before) >= 3
    await sandbox.aclose()
    await sandbox.aclose()
    assert workers() == before
    for execution in executions:
        with pytest.raises(SandboxClosed):
            await execution.advance({1: Returned(0)})
    assert (await run(sandbox, "1")).value == 1
    await sandbox.aclose()


async def test_a_run_that_nobody_holds_gives_its_worker_back() -> None:
    sandbox = MontySandbox(max_workers=1, checkout_timeout=5)
    for _ in range(3):
        execution = await start(sandbox, "await tools.a()", "a")
        await execution.advance()
        del execution
        gc.collect()
    assert (await run(sandbox, "1")).value == 1
    await sandbox.aclose()


async def test_a_full_pool_says_so() -> None:
    sandbox = MontySandbox(max_workers=1, checkout_timeout=0.05)
    execution = await start(sandbox, "1")
    with pytest.raises(SandboxUnavailable, match=r"came free in 0.05 s.*raise max_workers"):
        await start(sandbox, "2")
    await execution.aclose()
    await sandbox.aclose()


async def test_many_runs_at_once_and_many_workers_leave_nothing() -> None:
    before = workers()
    sandbox = MontySandbox(max_workers=16)
    results = await asyncio.gather(*(run(sandbox, f"await tools.echo({n})", {"echo": echo}) for n in range(100)))
    assert [result.value for result in results] == [[[n], {}] for n in range(100)]
    assert len(workers() - before) <= 16
    await sandbox.aclose()
    assert workers() == before


def test_each_event_loop_has_its_own_pool_and_loses_it_when_it_ends() -> None:
    before = workers()
    sandbox = MontySandbox(max_workers=2)
    values: list[object] = []

    async def use() -> None:
        values.append((await run(sandbox, "await tools.echo(1)", {"echo": echo})).value)

    def in_thread() -> None:
        asyncio.run(use())

    threads = [threading.Thread(target=in_thread) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(3):
        asyncio.run(use())
    assert values == [[[1], {}]] * 6

    async def close() -> None:
        await use()
        await sandbox.aclose()

    asyncio.run(close())
    assert workers() == before


@pytest.mark.parametrize("workers", [(0, 0), (3, 2), (-1, 2)])
def test_impossible_pools_are_refused(workers: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="min_workers"):
        MontySandbox(min_workers=workers[0], max_workers=workers[1])


@pytest.mark.parametrize("binary", ["/nonexistent/monty", "/bin/false", "/etc/hostname"])
async def test_a_worker_that_does_not_start_makes_it_unavailable(binary: str) -> None:
    sandbox = MontySandbox(binary=binary)
    with pytest.raises(SandboxUnavailable, match="worker"):
        await start(sandbox, "1")
    with pytest.raises(SandboxUnavailable, match="worker"):
        await sandbox.aprobe()
    await sandbox.aclose()


async def test_a_wrapper_may_start_the_worker(tmp_path: Path) -> None:
    from pydantic_monty._binary import find_monty_binary

    wrapper = tmp_path / "quiet-monty"
    wrapper.write_text(f'#!/bin/sh\nexec {find_monty_binary()} "$@" 2>/dev/null\n')
    wrapper.chmod(0o755)
    sandbox = MontySandbox(binary=wrapper)
    assert (await run(sandbox, "1 + 1")).value == 2
    await sandbox.aclose()


# The end of the host


SCRIPT = """
import asyncio
from codemode_sandboxes import Program
from codemode_sandboxes.monty import MontySandbox

async def main():
    sandbox = MontySandbox()
    execution = await sandbox.start(Program(code="await tools.a()", tools=("a",)))
    await execution.advance()
    {end}

asyncio.run(main())
"""
ENDS = ["await sandbox.aclose()", "await execution.aclose()", "pass", "raise SystemExit(0)"]


def _exit_statuses(count: int) -> list[int]:
    environment = {**os.environ, "PYTHONPATH": str(Path(codemode_sandboxes.__file__).parents[1])}
    statuses = []
    for number in range(0, count, 4):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT.format(end=ENDS[(number + i) % len(ENDS)])],
                env=environment,
                stderr=subprocess.PIPE,
            )
            for i in range(4)
        ]
        for process in processes:
            _, errors = process.communicate(timeout=60)
            assert errors == b""
            statuses.append(process.returncode)
    return statuses


def test_a_script_that_ends_right_after_a_run_ends_well() -> None:
    assert _exit_statuses(4) == [0] * 4


@pytest.mark.slow
def test_scripts_that_end_right_after_a_run_never_abort() -> None:
    assert _exit_statuses(40) == [0] * 40


def test_without_the_package_it_says_how_to_get_it() -> None:
    code = (
        "import sys\nsys.modules['pydantic_monty'] = None\nfrom codemode_sandboxes import create_sandbox\n"
        "try:\n    create_sandbox('monty')\nexcept Exception as error:\n    print(type(error).__name__, error)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(codemode_sandboxes.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("SandboxUnavailable sandbox 'monty' is not available")
    assert "pip install codemode-sandboxes" in done.stdout


async def test_processes_that_nobody_needs_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codemode_sandboxes.monty.workers, "IDLE", 0.2)
    before = workers()
    async with aclosing(MontySandbox(max_workers=8, min_workers=1)) as sandbox:
        stays = await sandbox.start(Program(code="await tools.wait()", tools=("wait",)), Limits(seconds=60))
        assert isinstance(await stays.advance(), Blocked)
        await asyncio.gather(*(run(sandbox, "await tools.echo(1)", {"echo": echo}) for _ in range(6)))
        assert await sandbox.type_check("x = 1", "") == []
        assert len(workers() - before) >= 3
        # The program that is still open holds its process, and the pool's idle ones with it; the checker's end.
        assert await still_works(sandbox)
        await stays.aclose()
        async with asyncio.timeout(30):
            while workers() - before:  # noqa: ASYNC110 - a process that ends tells nobody
                await asyncio.sleep(0.05)
        assert await still_works(sandbox)
    assert not workers() - before


async def test_processes_that_are_needed_again_and_again_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codemode_sandboxes.monty.workers, "IDLE", 2.0)
    async with aclosing(MontySandbox(max_workers=1, min_workers=1)) as sandbox:
        seen: set[int] = set()
        for _ in range(22):  # longer together than a process may be idle, and each much shorter
            execution = await sandbox.start(Program(code="1"), Limits(seconds=10))
            seen.add(worker(execution))
            await execution.aclose()
            await asyncio.sleep(0.1)
        assert len(seen) == 1
