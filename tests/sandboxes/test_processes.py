"""The common tests of sandboxes whose guests are processes: ordinary programs, the protocol, the life of a guest."""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from codemode_sandboxes import Blocked, Failed, Finished, Program, SandboxClosed
from codemode_sandboxes.process.channel import readable

from tests.sandboxes.cases import fake_tools, load, needs_cases
from tests.sandboxes.driving import echo, run
from tests.sandboxes.forgeries import sender
from tests.sandboxes.processes import descendants, every_process_sandbox, make, open_descriptors


@pytest.fixture(scope="module", params=every_process_sandbox())
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    sandbox = make(request.param)
    yield sandbox
    await sandbox.aclose()


@pytest.mark.slow
@needs_cases
@pytest.mark.parametrize("case", load("benign"), ids=lambda case: case["id"])
async def test_ordinary_programs(sandbox: Any, case: dict[str, Any]) -> None:
    result = await run(sandbox, case["code"] + "\nawait main()", fake_tools())
    assert (result.value, result.stdout) == (case["expected"], case["expected_stdout"])


async def test_promised_modules_are_there_and_limits_are_told(sandbox: Any) -> None:
    capabilities = sandbox.capabilities
    assert {"json", "re", "datetime", "zoneinfo", "statistics", "asyncio", "decimal"} <= capabilities.modules
    imports = "".join(f"import {name}\n" for name in sorted(capabilities.modules))
    result = await run(sandbox, f"{imports}sys.version.split()[0]")
    assert capabilities.language == f"CPython {result.value}"
    assert capabilities.boundary == ("container" if sandbox.name == "docker" else "os")
    assert capabilities.enforces == {"time", "memory", "output", "processes", "files", "network"}


async def test_a_forged_frame_gives_no_more_than_an_honest_one(sandbox: Any) -> None:
    send = sender(sandbox)
    result = await run(sandbox, send + 'send(b\'{"type":"finished","value":"mine"}\\n\')\nwhile True: pass')
    assert result.value == "mine"
    message = '"message":"a\\\\nb\\\\u0000\\\\ud800","line":null,"traceback":"' + "x" * 20_000 + '"'
    code = (
        send + f'send(b\'{{"type":"failed","kind":"program","error":"{"E" * 900}",{message}}}\\n\')\nwhile True: pass'
    )
    failed = (await run(sandbox, code)).failed
    assert (failed.kind, failed.message, len(failed.type), len(failed.traceback)) == ("program", "a b��", 200, 8000)


async def test_a_guest_killed_from_outside_has_died(sandbox: Any) -> None:
    execution = await sandbox.start(Program(code="await tools.echo(1)", tools=("echo",)))
    assert isinstance(await execution.advance(), Blocked)
    execution._channel.process.kill()
    await readable(execution._channel.process._pidfd)
    event = await execution.advance()
    assert isinstance(event, Failed)
    assert (event.kind, event.message) == ("died", "the program's process was killed by SIGKILL")
    with pytest.raises(SandboxClosed):
        await execution.advance()


async def test_closing_ends_a_run_in_another_task(sandbox: Any) -> None:
    execution = await sandbox.start(Program(code="while True: pass"))
    running = asyncio.create_task(execution.advance())
    await asyncio.sleep(0.05)
    await execution.aclose()
    with pytest.raises(SandboxClosed):
        await running
    await execution.aclose()


async def test_many_runs_at_once(sandbox: Any) -> None:
    code = "import asyncio\nsum(n for n, in [a for a, _ in await asyncio.gather(*[tools.echo(i) for i in range(20)])])"
    results = await asyncio.gather(*[run(sandbox, code, {"echo": echo}) for _ in range(20)])
    assert [result.value for result in results] == [190] * 20


async def test_no_run_sees_another(sandbox: Any) -> None:
    spoil = "import json, builtins, sys\njson.dumps = builtins.len = sys.modules['re'] = None\n1"
    assert (await run(sandbox, spoil)).failed.kind in ("program", "died", "protocol")
    look = "import json, re\n[json.dumps(1), len('a'), re.__name__]"
    assert (await run(sandbox, look)).value == ["1", 1, "re"]


def test_event_loops_may_follow_one_another(sandbox: Any) -> None:
    fresh = make(sandbox.name, spares=1)

    async def once() -> Any:
        try:
            return (await run(fresh, "6 * 7")).value
        finally:
            await fresh.aclose()

    assert [asyncio.run(once()) for _ in range(2)] == [42, 42]


@pytest.mark.parametrize("name", every_process_sandbox())
def test_an_event_loop_that_ends_with_a_programs_last_event_leaves_nothing(name: str) -> None:
    sandbox = make(name, spares=0)

    async def one() -> None:
        execution = await sandbox.start(Program(code="1"))
        assert await execution.advance() == Finished(1)

    def held() -> tuple[int, int]:
        gc.collect()
        return open_descriptors(os.getpid()), len(descendants(os.getpid()))

    asyncio.run(one())
    before = held()
    for _ in range(3):
        asyncio.run(one())
    end = time.monotonic() + 60
    while held() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert held() <= before
    asyncio.run(sandbox.aclose())
