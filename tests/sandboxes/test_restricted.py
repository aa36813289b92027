"""Locked-down CPython: it runs ordinary programs, holds its fences, survives every fault and leaves nothing behind."""

import asyncio
import contextlib
import gc
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import codemode_sandboxes
import pytest
from codemode_sandboxes import Blocked, Failed, Finished, Limits, Program, SandboxClosed, SandboxUnavailable
from codemode_sandboxes.linux import landlock
from codemode_sandboxes.restricted import RestrictedSandbox
from codemode_sandboxes.restricted.lockdown import open_libc

from tests.sandboxes.driving import NOW, double, echo, interpreters, run
from tests.sandboxes.forgeries import sender
from tests.sandboxes.processes import alive, children, gone, limits_for, open_descriptors, ticks

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="needs Linux"
)

ROOT = Path(codemode_sandboxes.__file__).parents[1]


@pytest.fixture(scope="session")
async def sandbox() -> AsyncIterator[RestrictedSandbox]:
    sandbox = RestrictedSandbox()
    yield sandbox
    await sandbox.aclose()


def server_pid(sandbox: RestrictedSandbox) -> int:
    server = sandbox._pool._starter
    assert server is not None
    return server._popen.pid


def test_the_layers_are_those_that_the_kernel_has() -> None:
    layers = RestrictedSandbox().layers
    assert layers[0] == "seccomp"
    assert {"no_new_privs", "rlimits"} <= set(layers)
    abi = landlock.version(open_libc())
    assert [layer for layer in layers if "landlock" in layer] == ([f"landlock {abi}"] if abi else [])


@pytest.mark.parametrize("python", interpreters())
async def test_promised_modules_are_there_in_a_run(python: str) -> None:
    sandbox = RestrictedSandbox(python=python)
    try:
        capabilities = sandbox.capabilities
        assert {"json", "re", "datetime", "zoneinfo", "statistics", "asyncio", "decimal"} <= capabilities.modules
        imports = "".join(f"import {name}\n" for name in sorted(capabilities.modules))
        result = await run(sandbox, f"{imports}sys.version.split()[0]")
        assert capabilities.language == f"CPython {result.value}"
    finally:
        await sandbox.aclose()


# What standard modules import only when they need it must have been imported too.
LAZY = {
    "import datetime\ndatetime.datetime.strptime('2026-03-01', '%Y-%m-%d').isoformat()": "2026-03-01T00:00:00",
    "import datetime, zoneinfo\nstr(datetime.datetime.now(zoneinfo.ZoneInfo('Europe/Paris')))": (
        "2026-01-01 01:00:00+01:00"
    ),
    "import zoneinfo\nlen(zoneinfo.available_timezones()) > 400": True,
    "from email.message import EmailMessage\nm = EmailMessage()\nm.set_content('a')\nm['To'] = 'b@c.d'\n"
    "m.add_attachment('x', filename='f.txt')\n'f.txt' in m.as_string()": True,
    "import xml.etree.ElementTree as e\ne.fromstring('<a><b>1</b></a>').find('b').text": "1",
    "import hashlib\n[hashlib.new(n, b'').hexdigest()[:4] for n in ('md5', 'sha256', 'sha3_256', 'blake2b')]": [
        "d41d", "e3b0", "a7ff", "786a",
    ],
    "'\\u20ac'.encode('cp1252').hex(), 'b\\u00fccher.de'.encode('idna').decode()": ["80", "xn--bcher-kva.de"],
    "import statistics\nstatistics.NormalDist(0, 1).cdf(0), statistics.median([3, 1, 2])": [0.5, 2],
    "import logging\nlogging.warning('careful')\n1": 1,
    "import decimal, fractions\nstr(decimal.Decimal(1) / 3)[:6], str(fractions.Fraction('0.5'))": ["0.3333", "1/2"],
    "import ast, inspect, textwrap, pprint, difflib\npprint.pformat({'a': 1}), ast.unparse(ast.parse('1+1'))": [
        "{'a': 1}", "1 + 1",
    ],
    "import gzip, zlib\ngzip.decompress(gzip.compress(b'a')).decode()": "a",
    "import csv, io\nlist(csv.DictReader(io.StringIO('a,b\\n1,2')))": [{"a": "1", "b": "2"}],
    "import html.parser, urllib.parse, http\nhttp.HTTPStatus(404).phrase": "Not Found",
    "import time\n[time.strftime('%H:%M'), time.tzname[0], time.localtime().tm_year]": ["00:00", "UTC", 2026],
    "import locale\nf'{1234567:n}', '{:,}'.format(1234567)": ["1234567", "1,234,567"],
    "import enum, typing, collections\ntyping.get_type_hints(type('A', (), {'__annotations__': {'x': 'int'}}))['x'].__name__": "int",
}  # fmt: skip


@pytest.mark.parametrize("code", LAZY)
async def test_the_standard_library_works_without_the_disk(sandbox: RestrictedSandbox, code: str) -> None:
    assert (await run(sandbox, code)).value == LAZY[code]


@pytest.mark.parametrize(
    "code",
    [
        "from math import nothing",
        "import numpy",
        "import json\njson.loads('{')",
        "open('/nowhere')",
        "import traceback\ntry:\n    __import__('json').loads('{')\nexcept ValueError:\n    print(traceback.format_exc())",
        "import asyncio, sys\nprint(asyncio, sys.path, sys.prefix, sys.argv, sys.executable, asyncio.__spec__)",
        "import gc, types\nprint([f.__code__ for f in gc.get_objects() if isinstance(f, types.FunctionType)][:2000])",
    ],
)
async def test_nothing_tells_where_the_host_keeps_its_files(sandbox: RestrictedSandbox, code: str) -> None:
    result = await run(sandbox, code)
    told = result.stdout + str(result.event)
    assert str(Path(os.__file__).parent) not in told
    assert str(ROOT) not in told


# Each of these is refused by the kernel; the exception is Python's for it.
REFUSED = {
    "open('/etc/passwd')": "PermissionError",
    "open('/proc/self/environ')": "PermissionError",
    "open('/tmp/x', 'w')": "PermissionError",
    "os.stat('/')": "PermissionError",
    "os.listdir('/')": "PermissionError",
    "os.getcwd()": "PermissionError",
    "os.pipe()": "PermissionError",
    "os.dup(3)": "PermissionError",
    "os.fork()": "PermissionError",
    "os.execv('/bin/true', ['true'])": "PermissionError",
    "os.kill(os.getppid(), 0)": "PermissionError",
    "os.kill(os.getpid(), 9)": "PermissionError",
    "os.setuid(0)": "PermissionError",
    "os.memfd_create('x')": "PermissionError",
    "socket.socket()": "PermissionError",
    "socket.socket(socket.AF_UNIX)": "PermissionError",
    "socket.socketpair()": "PermissionError",
    "socket.getaddrinfo('example.com', 80)": "gaierror",
    "subprocess.run(['true'])": "PermissionError",
    "threading.Thread(target=print).start()": "RuntimeError",
    "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))": "ValueError",
    "resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))": "ValueError",
    "asyncio.new_event_loop()": "PermissionError",
    "asyncio.create_task(asyncio.create_subprocess_shell('true'))": "NotImplementedError",
}


@pytest.mark.parametrize("code", REFUSED)
async def test_the_kernel_refuses(sandbox: RestrictedSandbox, code: str) -> None:
    imports = "import asyncio, os, resource, socket, subprocess, threading\n"
    result = await run(sandbox, f"{imports}r = {code}\nif asyncio.isfuture(r): await r")
    assert (result.failed.kind, result.failed.type) == ("program", REFUSED[code])


# What a raw system call answers: minus one, with EPERM.
@pytest.mark.parametrize("number", [2, 41, 57, 59, 101, 157, 257, 310, 317, 319, 321, 323, 425, 434, 435, 438])
@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86_64 numbers")
async def test_raw_system_calls_are_refused_too(sandbox: RestrictedSandbox, number: int) -> None:
    code = (
        f"import ctypes\nc = ctypes.CDLL(None, use_errno=True)\n[c.syscall({number}, 0, 0, 0, 0), ctypes.get_errno()]"
    )
    assert (await run(sandbox, code)).value == [-1, 1]


async def test_a_guest_has_an_empty_environment_and_its_two_pipes(
    sandbox: RestrictedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEMODE_CANARY", "token")
    fresh = RestrictedSandbox(spares=0)
    code = """
import errno, os, posix
found = []
for descriptor in range(1024):
    try:
        os.lseek(descriptor, 0, os.SEEK_CUR)
    except OSError as error:
        if error.errno == errno.EBADF:
            continue
        assert error.errno == errno.ESPIPE
        found.append([descriptor, "stream"])
    else:
        found.append([descriptor, "null"])
[dict(os.environ), {k.decode(): v.decode() for k, v in posix.environ.items()}, found, os.getuid()]
"""
    try:
        variables, at_start, descriptors, uid = (await run(fresh, code)).value
    finally:
        await fresh.aclose()
    assert "CODEMODE_CANARY" not in variables | at_start
    assert not variables
    assert descriptors == [[0, "null"], [1, "null"], [2, "null"], [3, "stream"], [4, "stream"]]
    assert uid != 0


# A program that goes wrong: the kind of its failure, and a part of the message.
FAULTS = {
    "import os\nos._exit(7)": ("died", "exit status 7"),
    "import ctypes\nctypes.string_at(0)": ("died", "SIGSEGV"),
    "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f()\nf()": (None, ""),
    "while True: pass": ("timeout", "0.5 seconds"),
    "import ctypes\nctypes.CDLL(None).pause()\nwhile True: pass": ("timeout", ""),
    "'a' * (1 << 40)": ("memory", "64 MB"),
    "x = []\nwhile True: x.append(bytes(1 << 16))": ("memory", ""),
    "while True: print('x' * 100)": ("output", "50,000 bytes"),
    "import sys\nwhile True: sys.stderr.write('x')": ("output", ""),
    "import os\nwhile True: os.write(1, b'x' * 65536)": ("timeout", ""),
    "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass": ("timeout", ""),
    "x = 0\nwhile True:\n    try: open(f'/tmp/{x}', 'w')\n    except OSError: x += 1": ("timeout", ""),
    "while True: await tools.double(1)": ("calls", "20 tool calls"),
    "await tools.huge()": ("memory", ""),
    "import os\nos.close(4)": ("died", ""),
    "import asyncio, os\nasyncio.create_task(tools.double(1))\nawait asyncio.sleep(0)\nos._exit(0)": (
        "died",
        "status 0",
    ),
}


@pytest.mark.parametrize("code", FAULTS)
async def test_a_fault_ends_its_own_run_and_no_other(sandbox: RestrictedSandbox, code: str) -> None:
    await run(sandbox, "1")
    server = server_pid(sandbox)

    async def huge() -> str:
        return "x" * (80 << 20)

    kind, part = FAULTS[code]
    failed = (await run(sandbox, code, {"double": double, "huge": huge}, limits=limits_for(kind))).failed
    assert kind in (failed.kind, None)
    assert part in failed.message
    assert (await run(sandbox, "1 + 1")).value == 2
    assert server_pid(sandbox) == server


async def test_a_flood_of_tiny_frames_leaves_the_event_loop_its_turn(sandbox: RestrictedSandbox) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    code = sender(sandbox) + 'b = b\'{"type":"print","text":"x"}\\n\' * 1000\nwhile True: send(b)'
    failed = (await run(sandbox, code, limits=Limits(seconds=60))).failed
    counting.cancel()
    assert failed.kind == "output"
    assert turns > 100  # it would be a few if frames were read for as long as there are some


async def test_a_guest_killed_from_outside_has_died(sandbox: RestrictedSandbox) -> None:
    execution = await sandbox.start(Program(code="import os\nawait tools.echo(os.getpid())", tools=("echo",)))
    event = await execution.advance()
    assert isinstance(event, Blocked)
    os.kill(event.calls[0].args[0], signal.SIGKILL)
    event = await execution.advance()
    assert isinstance(event, Failed)
    assert (event.kind, event.message) == ("died", "the program's process was killed by SIGKILL")
    with pytest.raises(SandboxClosed):
        await execution.advance()


async def test_a_fork_server_killed_takes_its_guests_and_is_started_again() -> None:
    sandbox = RestrictedSandbox()
    try:
        execution = await sandbox.start(Program(code="import os\nawait tools.echo(os.getpid())", tools=("echo",)))
        event = await execution.advance()
        assert isinstance(event, Blocked)
        guest, server = event.calls[0].args[0], server_pid(sandbox)
        spares = children(server)
        assert guest in spares
        os.kill(server, signal.SIGKILL)
        assert await gone(guest, *spares)
        event = await execution.advance()
        assert isinstance(event, Failed)
        assert event.kind == "died"
        assert (await run(sandbox, "1 + 1")).value == 2
        assert server_pid(sandbox) != server
    finally:
        await sandbox.aclose()


async def test_a_spare_that_died_is_not_given_out(sandbox: RestrictedSandbox) -> None:
    await run(sandbox, "1")
    spares = children(server_pid(sandbox))
    for pid in spares:
        with contextlib.suppress(ProcessLookupError):  # the one that ran the program
            os.kill(pid, signal.SIGKILL)
    assert await gone(*spares)
    assert [(await run(sandbox, "1 + 1")).value for _ in range(4)] == [2] * 4


async def test_cancelled_advances_leave_nothing(sandbox: RestrictedSandbox) -> None:
    await run(sandbox, "1")
    await _spares(sandbox)  # the one that was taken is replaced after a moment
    before = open_descriptors(os.getpid())
    tasks = [asyncio.create_task(run(sandbox, "while True: pass")) for _ in range(5)]
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    assert [type(result) for result in await asyncio.gather(*tasks, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 5
    assert (await run(sandbox, "1 + 1")).value == 2
    await _spares(sandbox)
    assert open_descriptors(os.getpid()) == before
    assert await gone(*[pid for pid in children(server_pid(sandbox)) if pid not in await _spares(sandbox)])


async def _spares(sandbox: RestrictedSandbox) -> set[int]:
    """Ids of the guests that wait: those that use no processor time."""
    before = {pid: ticks(pid) for pid in children(server_pid(sandbox))}
    await asyncio.sleep(0.2)
    return {pid for pid, used in before.items() if alive(pid) and ticks(pid) == used}


async def test_closing_ends_a_run_in_another_task(sandbox: RestrictedSandbox) -> None:
    execution = await sandbox.start(Program(code="while True: pass"))
    running = asyncio.create_task(execution.advance())
    await asyncio.sleep(0.05)
    await execution.aclose()
    with pytest.raises(SandboxClosed):
        await running
    await execution.aclose()


async def test_a_forgotten_execution_is_killed(sandbox: RestrictedSandbox) -> None:
    execution = await sandbox.start(Program(code="import os\nawait tools.echo(os.getpid())", tools=("echo",)))
    event = await execution.advance()
    assert isinstance(event, Blocked)
    del execution
    gc.collect()
    assert await gone(event.calls[0].args[0])


@pytest.mark.slow
async def test_processes_and_descriptors_do_not_grow(sandbox: RestrictedSandbox) -> None:
    def held() -> tuple[int, int, int]:
        server = server_pid(sandbox)
        return open_descriptors(os.getpid()), open_descriptors(server), len(children(server))

    async def settled(limits: tuple[int, int, int]) -> bool:
        async with asyncio.timeout(60):
            while any(now > limit for now, limit in zip(held(), limits, strict=True)):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return True

    spares = 2
    await run(sandbox, "1")
    await _spares(sandbox)
    assert await settled((1000, 1000, spares))
    before, server = held(), server_pid(sandbox)
    for _ in range(100):
        await asyncio.gather(
            run(sandbox, "await tools.double(1)", {"double": double}), run(sandbox, "1 / 0"), run(sandbox, "exit")
        )
    assert server_pid(sandbox) == server
    assert await settled(before)


async def test_fifty_runs_at_once(sandbox: RestrictedSandbox) -> None:
    code = "import asyncio\nsum(n for n, in [a for a, _ in await asyncio.gather(*[tools.echo(i) for i in range(20)])])"
    results = await asyncio.gather(*[run(sandbox, code, {"echo": echo}) for _ in range(50)])
    assert [result.value for result in results] == [190] * 50


async def test_no_run_sees_another(sandbox: RestrictedSandbox) -> None:
    spoil = "import json, sys, builtins, os\njson.dumps = builtins.len = sys.modules['re'] = None\n[os.getpid(), 1][0]"
    first = (await run(sandbox, spoil)).failed  # the guest itself uses what was spoilt
    look = "import json, re, os\n[json.dumps(1), len('a'), re.__name__]"
    assert first.kind in ("program", "died", "protocol")
    assert (await run(sandbox, look)).value == ["1", 1, "re"]


def test_event_loops_may_follow_one_another_and_share() -> None:
    sandbox = RestrictedSandbox()

    async def once() -> tuple[Any, int]:
        return (await run(sandbox, "6 * 7")).value, server_pid(sandbox)

    async def once_and_close() -> tuple[Any, int]:
        try:
            return await once()
        finally:
            await sandbox.aclose()

    async def nested() -> Any:
        execution = await sandbox.start(Program(code="await tools.double(1)", tools=("double",)))
        assert isinstance(await execution.advance(), Blocked)
        assert (await asyncio.to_thread(asyncio.run, once_and_close()))[0] == 42
        event = await execution.advance({1: codemode_sandboxes.Returned("still here")})
        await sandbox.aclose()
        return event

    first, second = asyncio.run(once()), asyncio.run(once())
    assert first == second
    third, fourth = asyncio.run(once_and_close()), asyncio.run(once_and_close())
    assert (third[0], fourth[0], third == fourth) == (42, 42, False)
    assert asyncio.run(nested()) == Finished("still here")


HOST = """
import asyncio, json, os, sys, time
from codemode_sandboxes import Blocked, Program
from codemode_sandboxes.restricted import RestrictedSandbox

sandbox = RestrictedSandbox(spares=3)

async def main(code):
    execution = await sandbox.start(Program(code=code, tools=("echo",)))
    event = await execution.advance()
    return execution, event
"""


def host(script: str) -> "subprocess.Popen[str]":
    """Start a host of its own that writes one line of JSON."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", HOST + script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


async def told(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout is not None
    return json.loads(await asyncio.to_thread(process.stdout.readline))


async def test_nothing_survives_a_host_that_is_killed() -> None:
    process = host("""
async def spin():
    waiting, event = await main("import os\\nawait tools.echo(os.getpid())")
    spinning = await sandbox.start(Program(code="while True: pass"))
    asyncio.get_running_loop().create_task(spinning.advance())
    server, guests = sandbox._pool._starter._popen.pid, []
    while len(guests) < 3 + 2:
        await asyncio.sleep(0.02)
        with open(f"/proc/{server}/task/{server}/children") as f:
            guests = [*map(int, f.read().split())]
    print(json.dumps([server, *guests]), flush=True)
    await asyncio.sleep(60)

asyncio.run(spin())
""")
    pids = await told(process)
    assert len(pids) == 1 + 3 + 2
    assert all(map(alive, pids))
    process.kill()
    process.communicate()
    assert await gone(*pids)


async def test_a_host_that_ends_without_closing_leaves_nothing_and_says_nothing() -> None:
    process = host("""
execution, event = asyncio.run(main("import os\\nawait tools.echo(os.getpid())"))
print(json.dumps([event.calls[0].args[0], sandbox._pool._starter._popen.pid]))
""")
    pids = await told(process)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert await gone(*pids)


async def test_a_fork_of_the_host_gets_a_server_of_its_own() -> None:
    process = host("""
def value():
    return asyncio.run(main("6 * 7"))[1].value

values = [value()]
if (pid := os.fork()) == 0:
    os._exit(0 if value() == 42 and (sandbox._pool.close() or True) else 1)
values += [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), value()]
asyncio.run(sandbox.aclose())
print(json.dumps(values))
""")
    assert await told(process) == [42, 0, 42]
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")


ORDINARY_USER = """
code = '''
import os, socket
def refused(do, *args):
    try:
        do(*args)
    except PermissionError:
        return True
[os.getuid() != 0, *[refused(*a) for a in ((open, "/etc/passwd"), (os.fork,), (socket.socket,), (os.kill, 1, 0))]]
'''
execution, event = asyncio.run(main(code))
asyncio.run(sandbox.aclose())
print(json.dumps([os.getuid(), event.value, sorted(sandbox.capabilities.enforces)]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="this is an ordinary user already")
async def test_an_ordinary_user_gets_the_same_fences() -> None:
    python = next((path for path in (sys.executable, "/usr/bin/python3") if _all_may_run(path)), None)
    if python is None:
        pytest.skip("no interpreter that everybody may run")
    process = subprocess.Popen(  # noqa: ASYNC220
        [python, "-c", HOST + ORDINARY_USER],
        stdout=subprocess.PIPE,
        text=True,
        user=65534,
        group=65534,
        extra_groups=[],
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
    )
    assert await told(process) == [
        65534, [True] * 5, ["files", "memory", "network", "output", "processes", "time"],
    ]  # fmt: skip
    process.communicate()


def _all_may_run(path: str) -> bool:
    command = [path, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    with contextlib.suppress(OSError):
        return subprocess.run(command, user=65534, group=65534, extra_groups=[], cwd="/").returncode == 0
    return False


@pytest.mark.parametrize(
    ("module", "attribute", "value", "part"),
    [
        ("sys", "platform", "darwin", "it needs Linux"),
        ("platform", "machine", lambda: "riscv64", "no system call table for riscv64"),
    ],
)
async def test_other_systems_are_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, module: str, attribute: str, value: Any, part: str
) -> None:
    monkeypatch.setattr(f"{module}.{attribute}", value)
    sandbox = RestrictedSandbox(python="/another")
    with pytest.raises(SandboxUnavailable, match=part) as raised:
        await sandbox.start(Program(code="1"))
    assert "monty" in raised.value.remedy
    with pytest.raises(SandboxUnavailable, match=part):
        _ = sandbox.capabilities


async def test_guests_that_do_not_start_are_not_asked_for_at_once_again() -> None:
    sandbox = RestrictedSandbox(python="/bin/false")
    with pytest.raises(SandboxUnavailable, match="the fork server ended with exit status 1"):
        await sandbox.start(Program(code="1"))
    assert not sandbox._pool._starter or not sandbox._pool._starter.alive
    sandbox._python = sys.executable
    with pytest.raises(SandboxUnavailable, match="the fork server ended with exit status 1"):
        await sandbox.start(Program(code="1"))
    sandbox._pool._pause_until = 0
    assert (await run(sandbox, "1 + 1")).value == 2
    await sandbox.aclose()


WITHOUT_SECCOMP = """
import ctypes, struct
from codemode_sandboxes.linux import seccomp
from codemode_sandboxes.restricted.lockdown import open_libc

libc = open_libc()
libc.prctl(38, 1, None, None, None)
deny = [(0x20, 0, 0, 0), (0x15, 0, 3, %d), (0x20, 0, 0, 16), (0x15, 0, 1, 22), (6, 0, 0, 0x50001), (6, 0, 0, 0x7fff0000)]
seccomp.install(libc, b"".join(struct.pack("=HBBI", *i) for i in deny))
try:
    asyncio.run(main("1"))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


async def test_a_kernel_that_refuses_seccomp_means_no_sandbox() -> None:
    process = host(WITHOUT_SECCOMP % {"x86_64": 157, "aarch64": 167}[platform.machine()])
    name, message = await told(process)
    process.communicate()
    assert name == "SandboxUnavailable"
    assert "the kernel refuses a seccomp filter" in message


FENCES = {
    "landlock": "landlock.restrict(libc, landlock.version(libc) or sys.exit(9))",
    "nothing": "pass",
}


@pytest.mark.parametrize("fence", FENCES)
def test_landlock_alone_holds_files_and_the_self_test_sees_a_missing_seccomp(fence: str) -> None:
    script = f"""
import sys
from codemode_sandboxes.linux import landlock
from codemode_sandboxes.restricted import lockdown
libc = lockdown.open_libc()
libc.prctl(38, 1, None, None, None)
{FENCES[fence]}
try:
    open("/etc/passwd")
    opened = True
except PermissionError:
    opened = False
try:
    lockdown._check()
except OSError as error:
    print(opened, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    if done.returncode == 9:
        pytest.skip("this kernel has no Landlock")
    assert done.stdout.strip() == f"{fence == 'nothing'} [Errno 1] the seccomp filter does not hold"


async def test_the_clock_starts_where_the_host_says() -> None:
    sandbox = RestrictedSandbox(spares=0)
    try:
        assert (await run(sandbox, "import time\ntime.time()")).value == NOW
    finally:
        await sandbox.aclose()
