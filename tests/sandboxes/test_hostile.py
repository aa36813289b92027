"""Hostile programs, in every sandbox: none gets anything of the host's, outlives its limits, or touches a later run."""

import asyncio
import contextlib
import dataclasses
import gc
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from codemode_sandboxes import Failed, Finished, Limits, Program

from tests.sandboxes.cases import fake_tools, here
from tests.sandboxes.driving import NOW, Run, Tool, drive
from tests.sandboxes.hostile import ATTACKS, Attack
from tests.sandboxes.processes import children, every_sandbox, gone, make, open_descriptors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

FILE_TOKEN, ENVIRONMENT_TOKEN = "canary-of-the-file-71c2", "canary-of-the-environment-93ab"
ENVIRONMENT_NAME = "CODEMODE_TEST_CANARY"
LIMITS = Limits(seconds=0.5, memory_bytes=64 << 20, output_bytes=64 << 10, calls=100, value_bytes=1 << 20)
PATIENT = dataclasses.replace(LIMITS, seconds=20)  # for ordinary programs
OVERHEAD_BYTES = {"pyodide": 320 << 20}
OTHERS_OVERHEAD_BYTES = 96 << 20
AT_ONCE = 3

OUTER = ("filesystem", "environment", "network", "process", "wasm")
"""What the jail or the container decides, whatever it holds."""

QUICK = ("restricted", "monty")
WHOLE = [f"{p.values[0]} in bubblewrap" if p.values[0] == "pyodide" else p.values[0] for p in every_sandbox()]
WHOLE.remove("ray")
"""Where every program is run."""
OTHER_JAILS = ["pyodide in deno", "pyodide in namespaces", "ray"]
"""Where those are run that the jail decides about, one of four: a guest takes a second to start, or is another's."""


@dataclass
class Canaries:
    """The targets that one hostile program tries to read, write, reach and call."""

    folder: Path
    number: int
    listener: socket.socket
    deleted: list[Any] = field(default_factory=list)

    @property
    def written(self) -> Path:
        return self.folder / f"written-{self.number}"

    def placed(self, code: str) -> str:
        for placeholder, value in {
            "@FILE@": str(self.folder / "secret"),
            "@ENV@": ENVIRONMENT_NAME,
            "@PORT@": str(self.listener.getsockname()[1]),
            "@WRITE@": str(self.written),
        }.items():
            code = code.replace(placeholder, value)
        return code

    def reached(self) -> bool:
        """Return whether anybody connected since the last time."""
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Open to everybody, so that it is the sandbox that refuses and not the permissions of a file.
    folder = Path(tempfile.mkdtemp(prefix="codemode-canaries-"))
    folder.chmod(0o777)
    (folder / "secret").write_text(FILE_TOKEN)
    (folder / "secret").chmod(0o666)
    os.environ[ENVIRONMENT_NAME] = ENVIRONMENT_TOKEN
    yield folder
    del os.environ[ENVIRONMENT_NAME]
    shutil.rmtree(folder)


@contextlib.contextmanager
def canaries(folder: Path, number: int) -> Iterator[Canaries]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield Canaries(folder, number, listener)


@dataclass
class Attempt:
    """A hostile run, as the host saw it."""

    run: Run
    largest: int
    said: str


def tools() -> dict[str, Tool]:
    """Return what programs may call."""

    async def weather(city: str) -> dict[str, str]:
        return {"city": city}

    async def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    found: dict[str, Tool] = {
        "get_weather": weather,
        "files_read": nothing,
        "files_write": nothing,
        "send_email": nothing,
    }
    return fake_tools() if here() else found


async def attempt(sandbox: Any, canaries: Canaries, code: str, limits: Limits = LIMITS) -> Attempt:
    """Run a program with tools, which it may call, beside `admin_delete`, which it may not."""
    granted = tools()
    arguments: list[Any] = []

    def recorded(name: str) -> Tool:
        async def tool(*args: Any, **kwargs: Any) -> Any:
            arguments.append([name, args, kwargs])
            return await granted[name](*args, **kwargs)

        return tool

    async def admin_delete(*args: Any, **kwargs: Any) -> None:
        canaries.deleted.append([args, kwargs])

    execution = await sandbox.start(Program(code=canaries.placed(code), tools=tuple(granted), seed=1, now=NOW), limits)
    watch = asyncio.create_task(largest_memory(guest(execution)))
    await asyncio.sleep(0)  # a run can be over before it begins to watch
    try:
        run = await drive(execution, {name: recorded(name) for name in granted} | {"admin_delete": admin_delete})
    finally:
        watch.cancel()
        await execution.aclose()
    return Attempt(run, await watch, f"{run.blocked} {run.event} {run.stdout} {arguments}")


def guest(execution: Any) -> int | None:
    """The process of a run, where it is one of this machine's."""
    if (worker := getattr(execution, "_worker", None)) is not None:
        pid: int | None = worker.pid
        return pid
    if hasattr(execution, "host"):  # its host's, on a machine of the cluster
        return None
    pidfd = getattr(getattr(execution._channel, "process", None), "_pidfd", None)
    if pidfd is None:
        return None
    information = Path(f"/proc/self/fdinfo/{pidfd}").read_text().split()
    return int(information[information.index("Pid:") + 1])


async def largest_memory(pid: int | None) -> int:
    """Watch a process until cancelled, and give the most resident memory that it, or one that it started, had."""
    largest = 0
    try:
        while True:
            for member in family(pid) if pid else ():
                largest = max(largest, resident(Path(f"/proc/{member}/status")))
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        return largest


def family(pid: int) -> list[int]:
    """A process and its descendants. Unlike `descendants` it does not read all of /proc, as it is asked so often."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):  # it has ended
            for children in Path(f"/proc/{each}/task").glob("*/children"):
                found += map(int, children.read_text().split())
    return found


def resident(status: Path) -> int:
    with contextlib.suppress(OSError):  # it has ended
        lines = [line.split() for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(lines[0][1]) * 1024 if lines else 0
    return 0


async def check(sandbox: Any, folder: Path, number: int, attack: Attack, *, once_more: bool) -> None:
    with canaries(folder, number) as found:
        hostile = await attempt(sandbox, found, attack.code)
        event = hostile.run.event
        assert FILE_TOKEN not in hostile.said
        assert ENVIRONMENT_TOKEN not in hostile.said
        assert not found.written.exists()
        assert not found.reached()
        assert not found.deleted
        assert hostile.largest < LIMITS.memory_bytes + OVERHEAD_BYTES.get(sandbox.name, OTHERS_OVERHEAD_BYTES)
        assert len(hostile.run.stdout.encode()) <= LIMITS.output_bytes
        assert not (isinstance(event, Finished) and event.value == "FORGED" and attack.pollutes)
        if sandbox.capabilities.boundary == "interpreter":
            assert not (isinstance(event, Finished) and "REACHED" in f"{event.value} {hostile.run.stdout}")
        if attack.followup is not None:
            after = (await attempt(sandbox, found, attack.followup, PATIENT)).run.event
            # A follow-up that Monty cannot run at all shows nothing; one that runs must find nothing.
            assert after.value == "clean" if isinstance(after, Finished) else sandbox.name == "monty", after
    if once_more:
        assert await ordinary(sandbox, folder)


async def ordinary(sandbox: Any, folder: Path) -> bool:
    with canaries(folder, -1) as found:
        return bool((await attempt(sandbox, found, "6 * 7", PATIENT)).run.value == 42)


@dataclass
class Arena:
    """The attacks on one sandbox, begun before they are asked for."""

    sandbox: Any
    checks: dict[str, asyncio.Task[None]]


def tried() -> list[Any]:
    """Each sandbox with each program that is run in it."""
    outer = [attack for attack in ATTACKS if attack.category in OUTER]
    pairs = [*product(WHOLE, ATTACKS), *product(OTHER_JAILS, outer[::4])]
    return [
        pytest.param(
            place,
            attack,
            marks=[] if place in QUICK and number % 8 == 0 else [pytest.mark.slow],
            id=f"{place}-{attack.category}-{attack.name}",
        )
        for number, (place, attack) in enumerate(pairs)
    ]


@contextlib.asynccontextmanager
async def arena(place: str, attacks: list[Attack], folder: Path) -> AsyncIterator[Arena]:
    """Attack a sandbox, and look in the end at what is left."""
    name, _, jail = place.partition(" in ")
    sandbox = make(name, jail=jail) if jail else make(name)
    assert await ordinary(sandbox, folder)
    await sandbox.aclose()
    gc.collect()
    before = open_descriptors(os.getpid()), set(children(os.getpid()))
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, attack: Attack) -> None:
        async with slots:
            await check(sandbox, folder, number, attack, once_more=name in QUICK or number % 8 == 0)

    tasks = {attack.name: asyncio.create_task(one(number, attack)) for number, attack in enumerate(attacks)}
    yield Arena(sandbox, tasks)
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert await ordinary(sandbox, folder)
    await sandbox.aclose()
    gc.collect()
    assert await gone(*(set(children(os.getpid())) - before[1]))
    assert open_descriptors(os.getpid()) <= before[0]


def selected(request: pytest.FixtureRequest, place: str) -> list[Attack]:
    """The attacks that this session makes on a sandbox."""
    found = []
    for item in request.session.items:
        if isinstance(item, pytest.Function) and "attack" in item.fixturenames:
            params: dict[str, Any] = item.callspec.params
            if params["place"] == place:
                found.append(params["attack"])
    return found


@pytest.fixture(scope="module")
async def arenas(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Callable[[str], Awaitable[Arena]]]:
    """Return the arena of a place; one is there at a time."""
    here: dict[str, Arena] = {}
    async with contextlib.AsyncExitStack() as stack:

        async def entered(place: str) -> Arena:
            if place not in here:
                here.clear()
                await stack.aclose()
                here[place] = await stack.enter_async_context(arena(place, selected(request, place), folder))
            return here[place]

        yield entered


@pytest.mark.parametrize(("place", "attack"), tried())
async def test_no_escape(arenas: Callable[[str], Awaitable[Arena]], place: str, attack: Attack) -> None:
    await (await arenas(place)).checks[attack.name]


def test_there_are_many_and_each_has_a_name_of_its_own() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 200


@pytest.mark.parametrize("name", every_sandbox())
async def test_the_canaries_can_be_seen(name: str, folder: Path) -> None:
    """The checks above would notice: each canary is one that a process without fences can reach."""
    with canaries(folder, -2) as found:
        script = found.placed(
            "import os, socket\nsocket.create_connection(('127.0.0.1', @PORT@)).close()\n"
            "open('@WRITE@', 'w').close()\nprint(open('@FILE@').read(), os.environ['@ENV@'])"
        )
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        assert said.decode().split() == [FILE_TOKEN, ENVIRONMENT_TOKEN]
        assert found.reached()
        assert found.written.exists()
        found.written.unlink()
        sandbox = make(name)
        try:
            code = "x = 'x' * (40 << 20)\nawait tools['get_weather'](city='Rome')\nn = 0\nfor i in range(3000000): n += i\nlen(x)"
            seen = await attempt(sandbox, found, code, PATIENT)
            assert "Rome" in seen.said
            if name not in ("docker", "ray"):  # whose processes are a daemon's, or a host's
                assert seen.largest > 40 << 20  # it is looked at now and then, and stays so large for a while
            failed = (await attempt(sandbox, found, "await tools['admin_delete']()", PATIENT)).run.event
            assert isinstance(failed, Failed)
            assert failed.type == "KeyError"
        finally:
            await sandbox.aclose()
