"""The guest runner as a program sees it, over a plain process: no fences here, so only programs that mean well."""

import asyncio
import gc
import select
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import codemode_sandboxes.guest
import pytest
from codemode_sandboxes import Blocked, Capabilities, Failed, Finished, Limits, Program, Returned
from codemode_sandboxes.process import Noise, ProcessExecution, spawn, wait_ready

from tests.sandboxes.driving import NOW, Run, Tool, broken, double, drive, echo, interpreters
from tests.sandboxes.processes import limits_for

RUNNER = Path(codemode_sandboxes.guest.__file__).parent
TOOLS: dict[str, Tool | None] = {"double": double, "echo": echo, "broken": broken, "list-events": echo, "slow": None}


class PlainSandbox:
    """The guest runner in a process of its own, with nothing around it."""

    name = "plain"
    capabilities = Capabilities(language="CPython", boundary="none", modules=frozenset())

    def __init__(self, python: str) -> None:
        self._python = python

    async def start(self, program: Program, limits: Limits | None = None) -> ProcessExecution:
        argv = [self._python, "-P", "-s", "-S", "-B", str(RUNNER)]
        channel = spawn(argv, env={"PYTHONHASHSEED": "0", "TZ": "UTC"})
        assert await wait_ready(channel) is None
        return ProcessExecution(channel, program, limits or Limits(seconds=10))

    async def aclose(self) -> None:
        pass


@pytest.fixture(params=interpreters())
async def sandbox(request: pytest.FixtureRequest) -> PlainSandbox:
    return PlainSandbox(request.param)


@pytest.fixture
async def run() -> AsyncIterator[Callable[..., Any]]:
    """Run a program with `TOOLS` on this interpreter."""
    executions: list[ProcessExecution] = []

    async def run_program(code: str, *, limits: Limits | None = None, seed: int = 1) -> Run:
        program = Program(code=code, tools=tuple(TOOLS), seed=seed, now=NOW)
        execution = await PlainSandbox(sys.executable).start(program, limits)
        executions.append(execution)
        return await drive(execution, TOOLS)

    yield run_program
    for execution in executions:
        await execution.aclose()


EVERYTHING = """
import asyncio, datetime, random, time, uuid

print("start", time.time(), datetime.datetime.now().isoformat(), datetime.date.today())
first, second = await asyncio.gather(tools["double"](1), tools.double(2))

async def chain(number):
    value = await tools.double(number)
    await asyncio.sleep(0.5)
    return await tools.double(value)

async with asyncio.TaskGroup() as group:
    tasks = [group.create_task(chain(n)) for n in (10, 20)]

try:
    await asyncio.wait_for(tools.slow(), 2)
except TimeoutError:
    late = time.time()

queue, seen = asyncio.Queue(maxsize=1), []
async def produce():
    for n in range(3):
        await queue.put(await tools.double(n))
    await queue.put(None)
producer = asyncio.create_task(produce())
while (item := await queue.get()) is not None:
    seen.append(item)

gate = asyncio.Semaphore(2)
async def guarded(n):
    async with gate:
        return await tools.double(n)
done = [await each for each in asyncio.as_completed([guarded(n) for n in range(5)])]

time.sleep(30)
asyncio.create_task(asyncio.sleep(1e6))
{
    "gather": [first, second], "group": [task.result() for task in tasks], "late": late, "queue": seen,
    "completed": sorted(done), "clock": [time.time(), time.monotonic(), asyncio.get_running_loop().time()],
    "moment": datetime.datetime.now(datetime.timezone.utc), "utc": datetime.datetime.utcnow(),
    "kept": [type(datetime.datetime.now()) is datetime.datetime, repr(datetime.date.today())],
    "drawn": [random.random(), str(uuid.uuid4()), hash("a")],
}
"""


async def test_asyncio_and_the_clock_are_python_s_own_on_every_interpreter(sandbox: PlainSandbox) -> None:
    async def outcome() -> Run:
        execution = await sandbox.start(Program(code=EVERYTHING, tools=tuple(TOOLS), seed=7, now=NOW))
        try:
            return await drive(execution, TOOLS)
        finally:
            await execution.aclose()

    result = await outcome()
    value = result.value
    drawn = value.pop("drawn")
    assert value == {
        "gather": [2, 4],
        "group": [40, 80],
        "late": NOW + 2.5,
        "queue": [0, 2, 4],
        "completed": [0, 2, 4, 6, 8],
        "clock": [NOW + 32.5, 32.5, 32.5],
        "moment": "2026-01-01T00:00:32.500000+00:00",
        "utc": "2026-01-01T00:00:32.500000",
        "kept": [True, "datetime.date(2026, 1, 1)"],
    }
    assert result.stdout == "start 1767225600.0 2026-01-01T00:00:00 2026-01-01\n"
    assert (await outcome()).value["drawn"] == drawn


VALUES = {
    "1 + 1": 2,
    "x = 1": None,
    "": None,
    "import asyncio\nawait asyncio.sleep(0)\n'a'": "a",
    "[i async for i in (x async for x in __import__('asyncio').as_completed([]))] if False else 3": 3,
    "{1, 2} | {3}, (4, 5)": [[1, 2, 3], [4, 5]],
    "import dataclasses\n@dataclasses.dataclass\nclass A:\n    n: int = 1\nA()": {"n": 1},
    "__name__": "__main__",
    "import os, sys\n[dict(os.environ), sys.stdin.read(), len(sys.argv)]": [{}, "", 1],
    "import asyncio\nawait asyncio.to_thread(sum, [1, 2])": 3,
    # the tools
    "await tools['double'](2)": 4,
    "await tools['list-events'](1, to='b')": [[1], {"to": "b"}],
    "await tools.list_events((1, {2: None}))": [[[1, {"2": None}]], {}],
    "sorted(tools)[0], len(tools), 'double' in tools, 'nothing' in tools": ["broken", 5, True, False],
    "try:\n    tools['dubble']\nexcept KeyError as e:\n    r = e.args[0]\nr": (
        "no tool named 'dubble'; did you mean 'double'?"
    ),
    "try:\n    tools.dubble\nexcept AttributeError as e:\n    r = str(e)\nr": (
        "no tool tools.dubble; did you mean 'double'?"
    ),
    "import inspect\nc = tools.double(1)\n[inspect.iscoroutine(c), await c]": [True, 2],
    "a = [1]\nc = tools.echo(a)\na.append(2)\n(await c)[0]": [[1]],
    "try:\n    tools.echo(object())\nexcept TypeError as e:\n    r = str(e)\nr": (
        "arguments of 'echo': an object of type 'object' is not JSON; pass its parts"
    ),
    "try:\n    tools.echo(tools.double(1))\nexcept TypeError as e:\n    r = str(e)\nr": (
        "arguments of 'echo': a coroutine was never awaited; write `await` before the call"
    ),
    # randomness that has no seed of its own comes from the program's
    "import os, secrets\nlen(os.urandom(4)), secrets.token_bytes(2) != secrets.token_bytes(2)": [4, True],
    "import random\nrandom.Random(3).random()": 0.23796462709189137,
}


@pytest.mark.parametrize("code", VALUES)
async def test_the_last_expression_is_the_value(run: Callable[..., Any], code: str) -> None:
    assert (await run(code)).value == VALUES[code]


@pytest.mark.parametrize(
    ("raised", "arrives"),
    [
        ("ValueError", "ValueError"),
        ("PermissionError", "PermissionError"),
        ("KeyError", "KeyError"),
        ("OurOwnError", "RuntimeError"),
        ("KeyboardInterrupt", "RuntimeError"),
        ("StopIteration", "RuntimeError"),
        ("UnicodeDecodeError", "RuntimeError"),
        ("print", "RuntimeError"),
    ],
)
async def test_a_tool_s_exception_is_raised_where_the_call_is_awaited(
    run: Callable[..., Any], raised: str, arrives: str
) -> None:
    code = (
        f"try:\n    await tools.broken({raised!r}, 'so')\nexcept Exception as e:\n    r = [type(e).__name__, e.args]\nr"
    )
    assert (await run(code)).value == [arrives, ["so"]]


# A program that fails: its kind, type, line and a part of its message.
FAILURES = {
    "x = 1\nx / 0": ("program", "ZeroDivisionError", 2, "division by zero"),
    "def f():\n    raise ValueError('a\\nb')\n\nf()": ("program", "ValueError", 2, "a b"),
    "def f(:": ("syntax", "SyntaxError", 1, "invalid syntax"),
    "a = '\\0'\n\0": ("syntax", None, None, "null byte"),
    "eval('1 +')": ("program", "SyntaxError", 1, "invalid syntax"),
    "raise SystemExit(3)": ("program", "SystemExit", 1, "3"),
    "raise KeyboardInterrupt": ("program", "KeyboardInterrupt", 1, ""),
    "class Odd(BaseException): pass\nraise Odd": ("program", "Odd", 2, ""),
    "await tools.broken('ValueError', 'no')": ("program", "ValueError", 1, "no"),
    "import asyncio\nasync def f():\n    await asyncio.Event().wait()\nawait f()": (
        "program", "RuntimeError", 3, "deadlock",
    ),
    "x = 1\nobject()": ("program", "TypeError", 2, "the program's value: an object of type 'object' is not JSON"),
    "tools.double(1)": ("program", "TypeError", 1, "write `await` before the call"),
    "10**5000": ("program", "ValueError", 1, "more than 4,214 digits"),
    "def f(n):\n    return f(n + 1)\nf(0)": ("program", "RecursionError", 2, "maximum recursion depth"),
    "a = b = 'x' * 200\n[a] * 10": ("program", "ValueError", 2, "larger than 1,000 bytes"),
    "tools.echo('x' * 2000)": ("program", "ValueError", 1, "larger than 1,000 bytes"),
    "print('x' * 6000)": ("output", "RuntimeError", 1, "printed more than 5,000 bytes"),
    "for i in range(9):\n    await tools.double(i)": ("calls", "RuntimeError", 2, "more than 8 tool calls"),
    "x = []\nwhile True:\n    x.append(bytes(1 << 20))": ("memory", "MemoryError", 3, "more than its 64 MB"),
    "def f():\n    x = []\n    while True:\n        x += [0] * 100\nf()": ("memory", "MemoryError", 4, "memory"),
    "print('so far')\nwhile True:\n    pass": ("timeout", "TimeoutError", None, "longer than 1 seconds"),
    "import os\nprint('so far')\nos._exit(3)": ("died", "RuntimeError", None, "exit status 3"),
}  # fmt: skip

TIGHT = Limits(seconds=1, memory_bytes=64 << 20, output_bytes=5000, calls=8, value_bytes=1000)


@pytest.mark.parametrize("code", FAILURES)
async def test_a_failure_says_what_and_where(run: Callable[..., Any], code: str) -> None:
    kind, type_name, line, part = FAILURES[code]
    result = await run(code, limits=limits_for(kind, TIGHT))
    failed = result.failed
    assert (failed.kind, failed.line) == (kind, line)
    assert type_name in (failed.type, None)
    assert part in failed.message
    assert "\n" not in failed.message
    assert "/" not in failed.traceback.replace("x / 0", "")
    if "so far" in code:
        assert result.stdout == "so far\n"


async def test_a_traceback_shows_the_program_s_lines_alone(run: Callable[..., Any]) -> None:
    code = "import json\n\ndef read(text):\n    return json.loads(text)\n\nread('{')"
    lines = (await run(code)).failed.traceback.splitlines()
    marks = "~^ "  # what Python 3.13 and later put under a line
    assert [line for line in lines if line.strip(marks)][:5] == [
        "Traceback (most recent call last):",
        '  File "<program>", line 6, in <module>',
        "    read('{')",
        '  File "<program>", line 4, in read',
        "    return json.loads(text)",
    ]


async def test_calls_made_together_travel_together(run: Callable[..., Any]) -> None:
    code = "import asyncio\nawait asyncio.gather(*[tools.double(n) for n in range(3)])\nawait tools.double(9)"
    events = (await run(code)).blocked
    assert [[(call.id, call.tool, call.args, call.line) for call in event.calls] for event in events] == [
        [(1, "double", (0,), 2), (2, "double", (1,), 2), (3, "double", (2,), 2)],
        [(4, "double", (9,), 3)],
    ]


async def start(code: str, tools: tuple[str, ...] = ("double",)) -> ProcessExecution:
    return await PlainSandbox(sys.executable).start(Program(code=code, tools=tools, now=NOW))


async def test_answers_may_come_in_any_order_and_number() -> None:
    code = """
import asyncio
order = []
async def ask(n):
    order.append([n, await tools.double(n)])
await asyncio.gather(*map(ask, range(3)))
order
"""
    execution = await start(code)
    try:
        await execution.advance()
        second = await execution.advance({3: Returned("c"), 99: Returned("nobody asked")})
        third = await execution.advance({})
        fourth = await execution.advance({2: Returned("b"), 3: Returned("again")})
        last = await execution.advance({1: Returned("a")})
    finally:
        await execution.aclose()
    assert (second, third, fourth) == (Blocked(), Blocked(), Blocked())
    assert last == Finished([[2, "c"], [1, "b"], [0, "a"]])


async def test_a_call_that_is_given_up_is_reported_once() -> None:
    code = """
import asyncio
async def both():
    async with asyncio.TaskGroup() as group:
        group.create_task(tools.double(1))
        group.create_task(tools.double(2))
try:
    await asyncio.wait_for(both(), 5)
except TimeoutError:
    pass
task = asyncio.create_task(tools.double(3))
await asyncio.sleep(0)
task.cancel()
await asyncio.sleep(1)
await tools.double(4)
"""
    execution = await start(code)
    try:
        first = await execution.advance()
        second = await execution.advance({}, elapsed=5.0)
        third = await execution.advance({}, elapsed=6.0)
        last = await execution.advance({1: Returned("late"), 3: Returned(8)})
    finally:
        await execution.aclose()
    assert isinstance(first, Blocked)
    assert (len(first.calls), first.wake_after) == (2, 5.0)
    assert second == Blocked((), (1, 2), 1.0)  # the third call was taken back before it was made
    assert isinstance(third, Blocked)
    assert [(call.id, call.args) for call in third.calls] == [(3, (4,))]
    assert last == Finished(8)


async def test_forgotten_tasks_are_cancelled_and_may_clean_up_but_not_wait() -> None:
    code = """
import asyncio
async def forgotten():
    try:
        await tools.double(1)
    finally:
        print("cleaned up")
        await tools.double(2)
async def stubborn():
    while True:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            print("no")
tasks = [asyncio.create_task(forgotten()), asyncio.create_task(stubborn())]
await asyncio.sleep(0)
"value"
"""
    execution = await start(code)
    try:
        last = await execution.advance()
        assert isinstance(last, Finished)
        assert (last.value, sorted(last.stdout.split())) == ("value", ["cleaned", "no", "up"])
    finally:
        await execution.aclose()


async def test_a_program_that_waits_for_nothing_new_blocks_again() -> None:
    execution = await start("import time\ntime.sleep(2)\ntime.time()")
    try:
        assert await execution.advance() == Blocked(wake_after=2.0)
        assert await execution.advance(elapsed=0.5) == Blocked(wake_after=1.5)
        assert await execution.advance() == Blocked(wake_after=1.5)
        assert await execution.advance(elapsed=0.1) == Blocked(wake_after=1.5)
        assert await execution.advance(elapsed=9.0) == Finished(NOW + 9)
    finally:
        await execution.aclose()


async def test_calls_may_be_made_after_others_were_given_up(run: Callable[..., Any]) -> None:
    code = """
import asyncio
for _ in range(2):
    try:
        await asyncio.wait_for(asyncio.gather(*[tools.slow() for _ in range(4)]), 1)
    except TimeoutError:
        pass
await asyncio.sleep(1e6)
sum(await asyncio.gather(*[tools.double(1) for _ in range(4)]))
"""
    result = await run(code)
    assert result.value == 8
    assert [event.wake_after for event in result.blocked] == [1.0, 1.0, 1e6, None]


async def test_prints_never_reach_the_frames(run: Callable[..., Any]) -> None:
    code = """
import os, subprocess, sys
for descriptor in (0, 1):
    os.write(descriptor, b'{"type":"finished","value":"forged"}\\n')
print("out", file=sys.__stdout__, flush=True)
print("printed \\ud800 \\u00e9")
print("to stderr", file=sys.stderr)
sys.stdout.buffer.write(b"bytes \\xff\\n")
"real"
"""
    result = await run(code)
    assert (result.value, result.stdout) == ("real", "printed \\ud800 é\nto stderr\nbytes \ufffd\n")


async def test_different_seeds_draw_differently_and_hashes_stay(run: Callable[..., Any]) -> None:
    code = (
        "import random, uuid, os\n[random.random(), str(uuid.uuid4()), os.urandom(8).hex(), random.Random().random()]"
    )
    first, again, other = (
        (await run(code, seed=1)).value,
        (await run(code, seed=1)).value,
        (await run(code, seed=2)).value,
    )
    assert first == again
    assert not set(first) & set(other)
    hashes = "hash('name'), list({'a', 'b', 'c', 'd', 'e'})"
    assert (await run(hashes, seed=1)).value == (await run(hashes, seed=2)).value


def test_a_guest_ends_with_its_host() -> None:
    argv = [sys.executable, "-P", "-s", "-S", "-B", str(RUNNER)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b'{"type":"ready"}\n'
        process.stdin.close()
        assert process.wait(10) == 0


async def test_a_command_that_is_no_guest_says_why_and_leaves_nothing() -> None:
    freed, noise = [], Noise()
    command = "trap '' TERM; echo no interpreter here >&2; sleep 60 & exit 4"
    channel = spawn(["/bin/sh", "-c", command], noise=noise, freed=lambda: freed.append(True))
    reading, _, _ = select.select([channel._reading], [], [], 0)  # the child of the shell holds the stream open
    assert not reading
    assert await channel.exit_status() == 4
    await channel.aclose()
    await channel.aclose()
    assert noise.text == "no interpreter here"
    assert freed == [True]
    with pytest.raises(OSError, match="No such file"):
        spawn(["/no/such/command"])
    channel = spawn(["/bin/sh", "-c", "exit 5"])
    assert await wait_ready(channel) == "the guest's process ended with exit status 5"
    await channel.aclose()


async def test_a_forgotten_channel_is_killed_and_freed() -> None:
    freed = asyncio.Event()
    channel = spawn(["/bin/sh", "-c", "exec sleep 60"], freed=freed.set)
    del channel
    gc.collect()
    await asyncio.wait_for(freed.wait(), 10)


async def test_what_reads_nothing_and_writes_without_end_is_ended_in_time() -> None:
    execution = ProcessExecution(
        spawn(["/bin/sh", "-c", "exec sleep 60"]), Program(code="x" * 5_000_000), Limits(seconds=0.3)
    )
    event = await execution.advance()
    assert isinstance(event, Failed)
    assert event.kind == "timeout"
    flood = "yes '{\"type\":\"nothing\"' | tr -d '\\n'"
    execution = ProcessExecution(
        spawn(["/bin/sh", "-c", flood], env={"PATH": "/usr/bin:/bin"}), Program(code=""), Limits()
    )
    event = await execution.advance()
    assert isinstance(event, Failed)
    assert event.kind == "protocol"
