"""Containers: what a program finds in one, how it fails, that nothing is left of it; daemons that come and go."""

import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import codemode_sandboxes
import pytest
from codemode_sandboxes import Blocked, Failed, Limits, Program, SandboxUnavailable
from codemode_sandboxes.docker import DockerSandbox
from codemode_sandboxes.docker.daemon import Daemon, default_address
from codemode_sandboxes.docker.host import OWNER_LABEL, current_owner

from tests.sandboxes.driving import double, echo, run
from tests.sandboxes.processes import limits_for, make, open_descriptors

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

ROOT = Path(codemode_sandboxes.__file__).parents[1]
SPARES = 2


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Any]:
    sandbox = make("docker", spares=SPARES)
    yield sandbox
    await sandbox.aclose()


@pytest.fixture(scope="module")
def daemon(sandbox: Any) -> Iterator[Any]:
    """The SDK's client of the daemon."""
    daemon = Daemon(default_address())
    yield daemon._api
    daemon.close()


def containers(daemon: Any, whose: str | None = None) -> list[Any]:
    """A process's containers; this one's by default."""
    found: list[Any] = daemon.containers(all=True, filters={"label": f"{OWNER_LABEL}={whose or current_owner()}"})
    return found


async def settled(sandbox: Any, daemon: Any) -> tuple[int, int, int]:
    """Descriptors, containers and threads, once as many guests wait as should and all others are removed."""
    gc.collect()
    async with asyncio.timeout(60):
        while len(containers(daemon)) != SPARES or len(sandbox._pool._spares) != SPARES:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        while any(spare.starting for spare in sandbox._pool._spares):  # noqa: ASYNC110 - the daemon tells nobody
            await asyncio.sleep(0.02)
    gc.collect()
    return open_descriptors(os.getpid()), len(containers(daemon)), threading.active_count()


async def nothing_left(daemon: Any, whose: str | None = None) -> bool:
    end = time.monotonic() + 60
    while containers(daemon, whose):
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.05)
    return True


IMPORTS = """
import ctypes, mmap, os, resource, socket, subprocess, tempfile, threading, zoneinfo, datetime, sqlite3
def status(name): return next(l.split()[1] for l in open('/proc/self/status') if l.startswith(name + ':'))
"""
INSIDE = {
    "[os.getuid(), os.geteuid(), os.getgid(), os.getgroups() in ([], [65534])]": [65534, 65534, 65534, True],
    "[status('CapEff'), status('CapPrm'), status('CapBnd'), status('NoNewPrivs'), status('Seccomp')]": ["0" * 16] * 3 + ["1", "2"],
    "dict(os.environ)": {},
    "[socket.gethostname(), os.getcwd(), os.getpid()]": ["guest", "/tmp", 1],
    "[n for _, n in socket.if_nameindex() if n != 'lo']": [],
    "os.listdir('/tmp')": [],
    "[open('/tmp/a', 'w').write('text'), open('/tmp/a').read(), tempfile.mkdtemp()[:5]]": [4, "text", "/tmp/"],
    "os.statvfs('/tmp').f_blocks * os.statvfs('/tmp').f_frsize": 16 << 20,
    "str(zoneinfo.ZoneInfo('Europe/Paris').utcoffset(datetime.datetime(2026, 7, 1)))": "2:00:00",
    "sqlite3.connect(':memory:').execute('select 6 * 7').fetchone()": [42],
    "[resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE)]": [[0, 0], [256, 256]],
}  # fmt: skip


async def test_a_program_finds_an_image_a_folder_of_its_own_and_nothing_else(sandbox: Any) -> None:
    for code, value in INSIDE.items():
        assert (await run(sandbox, IMPORTS + code)).value == value, code


REFUSED = {
    "open('/py/x', 'w')": "OSError",
    "open('/etc/passwd', 'a')": "PermissionError|OSError",
    "open('/proc/sys/kernel/core_pattern', 'w')": "PermissionError|OSError",
    "os.mknod('/tmp/d', 0o60600, 0x801)": "PermissionError",
    "os.setuid(0)": "PermissionError",
    "ctypes.CDLL(None, use_errno=True).unshare(0x10000000) and os.chroot('/tmp')": "PermissionError",
    "socket.create_connection(('1.1.1.1', 53), 1)": "OSError|PermissionError",
    "socket.getaddrinfo('example.com', 80)": "gaierror",
    "subprocess.run(['/bin/sh'])": "FileNotFoundError",
    "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))": "ValueError",
    "resource.setrlimit(resource.RLIMIT_NOFILE, (999, 999))": "ValueError",
}


async def test_the_container_refuses(sandbox: Any) -> None:
    for code, types in REFUSED.items():
        failed = (await run(sandbox, IMPORTS + code)).failed
        assert (failed.kind, failed.type in types.split("|")) == ("program", True), (code, failed)


async def test_the_daemon_was_told_every_limit(sandbox: Any, daemon: Any) -> None:
    execution = await sandbox.start(Program(code="1"))
    try:
        told = daemon.inspect_container(execution._channel.process.guest.name)
    finally:
        await execution.aclose()
    host = told["HostConfig"]
    memory = Limits().memory_bytes + (48 << 20)
    assert (host["NetworkMode"], host["IpcMode"], host["LogConfig"]["Type"]) == ("none", "none", "none")
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (True, ["ALL"], ["no-new-privileges"])
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"], host["NanoCpus"]) == (memory, memory, 32, 10**9)
    assert (told["Config"]["User"], host["Privileged"], host["Binds"]) == ("65534:65534", False, None)
    assert told["Config"]["Labels"][OWNER_LABEL] == current_owner()


FAULTS = {
    "os._exit(7)": ("died", "exit status 7"),
    "ctypes.string_at(0)": ("died", "SIGSEGV"),
    "while True: pass": ("timeout", "0.5 seconds"),
    "ctypes.CDLL(None).pause()": ("timeout", ""),
    "'a' * (1 << 40)": ("memory", "64 MB"),
    "x = []\nwhile True: x.append(bytes(1 << 16))": ("memory", "64 MB"),
    "x = []\nwhile len(x) < 40: x.append(open(f'/tmp/{len(x)}', 'wb')); x[-1].write(b'a' * (1 << 20)); x[-1].flush()": (
        "program",
        "No space left",
    ),
    "n = 0\nwhile True: n += 1; open(f'/tmp/{n}', 'w').close()": ("program", "No space left"),
    "while True: print('x' * 100)": ("output", "50,000 bytes"),
    "while True:\n    try: os.fork()\n    except OSError: pass": ("timeout|died|memory", ""),
    "while True: threading.Thread(target=threading.Event().wait, daemon=True).start()": ("program|memory", ""),
}  # fmt: skip


async def test_a_fault_ends_its_own_run_and_leaves_nothing(sandbox: Any, daemon: Any) -> None:
    await run(sandbox, "1", limits=limits_for("none"))
    before = await settled(sandbox, daemon)
    for code, (kinds, part) in FAULTS.items():
        failed = (await run(sandbox, f"{IMPORTS}{code}", {"double": double}, limits=limits_for(kinds))).failed
        assert (failed.kind in kinds.split("|"), part in failed.message) == (True, True), (code, failed)
    after = await settled(sandbox, daemon)
    assert after[1] == before[1]
    assert max(after[0] - before[0], after[2] - before[2]) < 8  # some connections and threads are kept


async def test_memory_is_counted_over_all_processes_and_told_from_time_and_from_a_crash(sandbox: Any) -> None:
    children = "for _ in range(4):\n    if os.fork() == 0:\n        x = b'a' * (45 << 20)\n        while True: pass\nos.wait()\n"
    limits = limits_for("memory")
    failed = (await run(sandbox, f"{IMPORTS}{children}os._exit(1)", limits=limits)).failed
    assert (failed.kind, failed.message) == ("memory", "the program used more than its 64 MB of memory")
    one = "if os.fork() == 0: os._exit(0)\nos.wait()\n"
    failed = (await run(sandbox, f"{IMPORTS}{one}os._exit(1)", limits=limits)).failed
    assert (failed.kind, failed.message) == ("died", "the program's process ended with exit status 1")

    async def huge() -> str:
        return "x" * (80 << 20)

    assert (await run(sandbox, "await tools.huge()", {"huge": huge}, limits=limits)).failed.kind == "memory"
    held = "x = b'a' * (48 << 20)\nlen(x)"
    assert (await run(sandbox, held, limits=limits)).value == 48 << 20


async def test_processes_are_few(sandbox: Any) -> None:
    forks = "n = 0\ntry:\n    while True:\n        if os.fork() == 0:\n            while True: pass\n        n += 1\nexcept OSError:\n    pass\nn"
    assert 20 < (await run(sandbox, IMPORTS + forks)).value < 32


async def test_a_guest_killed_in_mid_call_has_died(sandbox: Any, daemon: Any) -> None:
    execution = await sandbox.start(Program(code="await tools.echo(1)", tools=("echo",)))
    assert isinstance(await execution.advance(), Blocked)
    daemon.kill(execution._channel.process.guest.name, "SIGKILL")
    event = await execution.advance()
    assert isinstance(event, Failed)
    assert (event.kind, event.message) == ("died", "the program's process was killed by SIGKILL")


async def test_spares_that_died_are_not_given_out(sandbox: Any, daemon: Any) -> None:
    await run(sandbox, "1")
    await settled(sandbox, daemon)
    for container in containers(daemon):
        daemon.kill(container["Id"], "SIGKILL")
    for spare in sandbox._pool._spares:
        spare._since -= 60  # as if they had been there for a while
    assert [(await run(sandbox, "1 + 1")).value for _ in range(4)] == [2] * 4


async def test_runs_cancelled_twice_and_runs_forgotten_leave_nothing(sandbox: Any, daemon: Any) -> None:
    async def storm() -> tuple[int, int, int]:
        tasks = [asyncio.create_task(run(sandbox, "while True: pass")) for _ in range(4)]
        for task in tasks:
            await asyncio.sleep(0.05)
            task.cancel()
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 4
        execution = await sandbox.start(Program(code="await tools.echo(1)", tools=("echo",)))
        assert isinstance(await execution.advance(), Blocked)
        del execution
        return await settled(sandbox, daemon)

    await run(sandbox, "1")
    first = [await storm() for _ in range(2)][-1]
    last = [await storm() for _ in range(3)][-1]
    assert last[0] - first[0] < 8  # connections that are kept; 15 runs would have left more
    assert last[2] - first[2] < 4


async def test_closing_waits_until_everything_is_removed(daemon: Any) -> None:
    own = make("docker", spares=1)
    before = {container["Id"] for container in containers(daemon)}
    threads = threading.active_count()
    execution = await own.start(Program(code="await tools.echo(1)", tools=("echo",)))
    await execution.advance()
    await own.aclose()
    assert {container["Id"] for container in containers(daemon)} <= before
    assert threading.active_count() <= threads + 1  # that in which it was closed is the event loop's to keep
    assert (await run(own, "6 * 7")).value == 42
    await own.aclose()


async def test_the_event_loop_never_waits_for_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    session: Any = pytest.importorskip("requests").Session
    send = session.send

    def watched(*args: Any, **kwargs: Any) -> Any:
        threads.append(threading.current_thread())
        return send(*args, **kwargs)

    own = make("docker", spares=1)
    monkeypatch.setattr(session, "send", watched)
    await asyncio.gather(*[run(own, "await tools.echo(1)", {"echo": echo}) for _ in range(4)])
    await own.aclose()
    assert len(threads) > 4
    assert threading.current_thread() not in threads


HOST = """
import asyncio, json, sys
from codemode_sandboxes import Program, create_sandbox
from codemode_sandboxes.docker.host import current_owner

sandbox = create_sandbox("docker")

async def begin(*codes):
    for code in codes:
        execution = await sandbox.start(Program(code=code, tools=("echo",)))
        kept.append((execution, asyncio.get_running_loop().create_task(execution.advance())))
    await asyncio.wait([task for _, task in kept], timeout=0.3)
    print(json.dumps(current_owner()), flush=True)

kept = []
"""


@contextlib.contextmanager
def host(script: str) -> Iterator[Any]:
    """A host process of its own, and the name under which its containers go."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", HOST + script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


async def told(process: Any) -> Any:
    line = await asyncio.to_thread(process.stdout.readline)
    assert line, process.stderr.read()
    return json.loads(line)


SPINS = "while True: pass"
SLEEPS = "import ctypes\nctypes.CDLL(None).pause()"
WAITS = "await tools.echo(1)"


async def test_what_a_killed_host_left_is_removed_and_nobody_elses(sandbox: Any, daemon: Any) -> None:
    waiting = f"asyncio.run(begin({SPINS!r}, {SLEEPS!r}, {WAITS!r}))" + "\n"
    lasting = waiting.replace("begin(", "last(")
    last = "async def last(*codes):\n    await begin(*codes)\n    await asyncio.sleep(60)\n"
    with host(last + lasting) as killed, host(last + lasting) as living:
        whose, others = await told(killed), await told(living)
        killed.kill()
        killed.wait()
        assert len(containers(daemon, whose)) >= 3
        before = {container["Id"] for container in containers(daemon, others)}
        own = make("docker", spares=0)
        assert (await run(own, "6 * 7")).value == 42  # whoever comes next removes what is left
        assert await nothing_left(daemon, whose)
        assert before <= {container["Id"] for container in containers(daemon, others)}
        await own.aclose()
    own = make("docker", spares=0)
    await run(own, "1")
    assert await nothing_left(daemon, others)
    await own.aclose()


@pytest.mark.parametrize(
    "script",
    [
        f"asyncio.run(begin({WAITS!r}, {SPINS!r}))\n",
        f"begun = begin({WAITS!r})\nloop = asyncio.new_event_loop()\nloop.run_until_complete(begun)\nsys.exit()\n",
    ],
)
async def test_a_host_that_ends_without_closing_leaves_nothing_and_says_nothing(daemon: Any, script: str) -> None:
    make("docker")
    with host(script) as process:
        whose = await told(process)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, containers(daemon, whose)) == (0, [])
    if "asyncio.run" in script:
        assert errors == ""


async def test_a_fork_of_the_host_leaves_its_parents_guests_alone(daemon: Any) -> None:
    fork = """
async def parent():
    await begin("await tools.echo(1)")
    import os
    if (child := os.fork()) == 0:
        sandbox._pool.close()
        import gc
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    execution, task = kept[0]
    from codemode_sandboxes import Returned
    await task
    print(json.dumps((await execution.advance({1: Returned("here")})).value), flush=True)
    await sandbox.aclose()

asyncio.run(parent())
"""
    make("docker")
    with host("import warnings\nwarnings.simplefilter('ignore')\n" + fork) as process:
        await told(process)
        assert await told(process) == "here"


async def test_an_absent_image_is_told_with_what_makes_it(sandbox: Any) -> None:
    for options, remedy in (
        ({"image": "codemode-nobody-has-this:1"}, "docker pull codemode-nobody-has-this:1"),
        ({"packages": ["nobody-has-this"]}, "python -m codemode_sandboxes.docker build --package nobody-has-this"),
    ):
        own = DockerSandbox(**options)
        with pytest.raises(SandboxUnavailable, match="is not on the Docker daemon") as raised:
            await own.start(Program(code="1"))
        assert remedy in raised.value.remedy
        await own.aclose()


async def test_gvisor_is_used_where_it_is_and_asked_for_where_it_is_not(sandbox: Any) -> None:
    own = DockerSandbox(runtime="runsc", spares=0)
    try:
        if "runsc" in sandbox._open()._hosts[0].facts().runtimes:
            assert (await run(own, "6 * 7")).value == 42
            return
        with pytest.raises(SandboxUnavailable, match=r"has no runtime 'runsc'; it has .*runc") as raised:
            await own.start(Program(code="1"))
        assert "runsc install" in raised.value.remedy
    finally:
        await own.aclose()
