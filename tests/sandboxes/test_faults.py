"""Whatever goes wrong in a run, in every sandbox: it is told for what it is, and afterwards nothing of it is left."""

import asyncio
import gc
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import codemode_sandboxes
import pytest
from codemode_sandboxes import Blocked, Failed, Limits, Program, SandboxClosed

from tests.sandboxes.driving import double, run
from tests.sandboxes.forgeries import FORGERIES
from tests.sandboxes.hostile.attack import REACH
from tests.sandboxes.processes import alive, descendants, every_sandbox, gone, limits_for, make, open_descriptors
from tests.sandboxes.ray_cluster import cluster_processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

ROOT = Path(codemode_sandboxes.__file__).parents[1]
LIMITS = Limits(seconds=0.5, memory_bytes=64 << 20, output_bytes=50_000, calls=20, value_bytes=100_000)
SLOWER = {"pyodide": Limits(seconds=2, memory_bytes=64 << 20, output_bytes=50_000, calls=20, value_bytes=100_000)}


class Place(NamedTuple):
    """A sandbox, and what this process holds while nothing runs in it: descriptors, processes, control groups."""

    sandbox: Any
    others: frozenset[int]
    idle: tuple[int, int, int]

    @property
    def limits(self) -> Limits:
        return SLOWER.get(self.sandbox.name, LIMITS)

    async def left(self) -> tuple[int, int, int]:
        """Return what it holds more than it did, once that is nothing, or after a while. A pool may have lost a guest."""
        end = time.monotonic() + 60
        while True:
            found = held(self.sandbox, self.others)
            more = [max(now - before, 0) for now, before in zip(found, self.idle, strict=True)]
            if not any(more) or time.monotonic() > end:
                return more[0], more[1], more[2]
            gc.collect()
            await asyncio.sleep(0.02)


def held(sandbox: Any, others: frozenset[int]) -> tuple[int, int, int]:
    cgroups = getattr(sandbox._find(), "cgroups", None) if hasattr(sandbox, "_find") else None
    for leaf in list(cgroups._remainders) if cgroups else ():
        if leaf.discarded:  # it goes with the next one that is made
            leaf.remove_now()
    parents = cgroups._parents if cgroups else ()
    groups = [path for parent in parents for path in parent.glob(f"codemode-*-{os.getpid()}-*")]
    processes = set(descendants(os.getpid())) - others
    if sandbox.name == "ray":
        processes |= {pid for pid in cluster_processes() if not _is_of_ray(pid)}
    return open_descriptors(os.getpid()), len(processes), len(groups)


def _is_of_ray(pid: int) -> bool:
    """Ray keeps spare workers of its own, which come and go; the guests of its hosts are what a fault may leave."""
    try:
        return re.search(rb"ray::|/ray/|raylet|gcs_server", Path(f"/proc/{pid}/cmdline").read_bytes()) is not None
    except OSError:
        return True


@pytest.fixture(scope="module", params=every_sandbox())
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    gc.collect()
    others = frozenset(descendants(os.getpid()))
    # Monty keeps its workers and a cluster its hosts: with one more run at a time there would be one more.
    sandbox = make(request.param, **{"monty": {"max_workers": 2}, "ray": {"hosts": 1}}.get(request.param, {}))
    limits = limits_for("none", SLOWER.get(request.param, LIMITS))
    await asyncio.gather(*[run(sandbox, "await tools.double(1)", {"double": double}, limits=limits) for _ in range(2)])
    if request.param == "ray":  # an answer for which its store has no room has it map a file, which it keeps
        await run(sandbox, "await tools.huge()", {"huge": huge}, limits=limits)
    seen = [held(sandbox, others)]
    async with asyncio.timeout(60):
        while len(seen) < 12 or len(set(seen[-12:])) > 1:  # spares are on their way
            await asyncio.sleep(0.05)
            seen.append(held(sandbox, others))
    yield Place(sandbox, others, seen[-1])
    await sandbox.aclose()


class Fault(NamedTuple):
    """A program that goes wrong, and the kinds of failure that tell it: by sandbox, else "guest" for those of CPython."""

    code: str
    kinds: dict[str, str]
    part: str = ""


FAULTS = {
    "it exits": Fault("import os\nos._exit(7)", {"guest": "died", "monty": "program"}),
    "it exits in mid call": Fault(
        "import asyncio, os\nasyncio.create_task(tools.double(1))\nawait asyncio.sleep(0)\nos._exit(0)",
        {"guest": "died", "monty": "syntax|program"},
    ),
    "a segmentation fault": Fault(
        "import ctypes\nctypes.string_at(0)", {"guest": "died", "monty": "program", "pyodide": "program|died"}
    ),
    "it kills itself": Fault(
        "import os\nos.kill(os.getpid(), 9)\nwhile True: pass",
        {"guest": "died|timeout|program", "monty": "program", "pyodide": "died|timeout|program"},
    ),
    "it spins": Fault("while True: pass", {"all": "timeout"}, "computed for longer than"),
    "it spins in C": Fault("import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')\n1", {"guest": "timeout", "monty": ""}),
    "it blocks itself": Fault(
        "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()\nraise ValueError",
        {"guest": "timeout", "monty": "program", "pyodide": "timeout|program"},
    ),
    "it waits for nothing": Fault(
        "import asyncio\nawait asyncio.get_running_loop().create_future()", {"guest": "program", "monty": "program"}
    ),
    "it sleeps for ever": Fault(
        "import asyncio\nwhile True: await asyncio.sleep(1000)", {"guest": "timeout", "monty": "calls"}
    ),
    "memory at once": Fault("x = 'a' * (1 << 30)", {"all": "memory"}, "64 MB"),
    "memory by and by": Fault(
        "x = []\nwhile True: x.append('a' * (1 << 16) + str(len(x)))", {"all": "memory"}, "64 MB"
    ),
    "memory that is mapped": Fault(
        "import mmap\nx = []\nwhile True: x.append(mmap.mmap(-1, 1 << 20)); x[-1].write(b'a' * (1 << 20))",
        {"guest": "memory|program", "monty": "program"},
    ),
    "an answer too large": Fault("await tools.huge()", {"all": "memory|timeout"}),
    "prints": Fault("while True: print('x' * 100)", {"all": "output"}, "50,000 bytes"),
    "output past the program": Fault(
        "import os\nwhile True: os.write(1, b'x' * 65536)", {"guest": "timeout", "monty": "program"}
    ),
    "frames": Fault(
        REACH + 'while True: send((\'{"type":"print","text":"\' + "x" * 500 + \'"}\\n\') * 10)',
        {"guest": "output", "monty": "program"},
    ),
    "it does not read its answers": Fault(
        REACH + "def spin():\n    while True: pass\nwire.receive = spin\nawait tools.large()",
        {"guest": "timeout", "monty": "program"},
    ),
    "calls": Fault("while True: await tools.double(1)", {"all": "calls"}, "20 tool calls"),
    "arguments": Fault(
        "import asyncio\nawait asyncio.gather(*[tools.double('x' * 90_000) for _ in range(15)])", {"all": "output"}
    ),
    "processes": Fault(
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        {"guest": "timeout|died|memory", "monty": "program"},
    ),
    "threads": Fault(
        "import threading\nwhile True: threading.Thread(target=threading.Event().wait, daemon=True).start()",
        {"guest": "program|memory", "monty": "program"},
    ),
    "a daemon": Fault(
        "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while True: pass\n"
        "    os._exit(0)\nraise ValueError",
        {"guest": "program", "monty": "program"},
    ),
    "a full disk": Fault(
        "x = []\nwhile len(x) < 40: x.append(open(f'/tmp/{len(x)}', 'wb')); x[-1].write(b'a' * (1 << 20)); x[-1].flush()",
        {"guest": "program|memory", "monty": "program"},
    ),
    "countless files": Fault(
        "n = 0\nwhile True: n += 1; open(f'/tmp/{n}', 'w').close()",
        {"guest": "timeout|memory|program", "monty": "program"},
    ),
    "endless recursion": Fault("def f(n): return f(n + 1)\nf(0)", {"all": "program"}, "recursion"),
    "its stream is closed": Fault(
        "import os\nos.closerange(0, 1000)\nawait tools.double(1)\nraise ValueError",
        {"guest": "died|program", "monty": "program", "pyodide": "died|program"},
    ),
}


async def huge() -> str:
    return "x" * (80 << 20)


async def large() -> str:
    return "x" * (8 << 20)


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_told_and_leaves_nothing(place: Place, name: str) -> None:
    fault = FAULTS[name]
    tools = {"double": double, "huge": huge, "large": large}
    kinds = fault.kinds.get("all") or fault.kinds.get(place.sandbox.name, fault.kinds["guest"])
    event = (await run(place.sandbox, fault.code, tools, limits=limits_for(kinds, place.limits))).event
    if kinds:
        assert isinstance(event, Failed), event
        assert event.kind in kinds.split("|"), event
        assert fault.part in event.message
    assert (await run(place.sandbox, "1 + 1", limits=limits_for("none", place.limits))).value == 2
    assert await place.left() == (0, 0, 0)


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_guest_that_breaks_the_protocol_fails(place: Place, forgery: str) -> None:
    if place.sandbox.capabilities.boundary == "interpreter":
        return  # a program there has no stream that it could write to
    code = REACH + "frames, send = send, lambda data: frames(data.decode('latin-1'))\n" + FORGERIES[forgery]
    failed = (
        await run(
            place.sandbox, code + "\nwhile True: pass", {"double": double}, limits=limits_for("protocol", place.limits)
        )
    ).failed
    assert failed.kind == "protocol"
    assert failed.message.startswith("the sandbox's guest broke the protocol: ")


def guest_pids(execution: Any) -> list[int]:
    """The processes of a run, the innermost last."""
    if (worker := getattr(execution, "_worker", None)) is not None:
        return [worker.pid]
    if (host := getattr(execution, "host", None)) is not None:  # a run on a cluster ends with the host that it is on
        return [host.opened.result().pid]
    information = Path(f"/proc/self/fdinfo/{execution._channel.process._pidfd}").read_text().split()
    outer = int(information[information.index("Pid:") + 1])
    return [outer, *descendants(outer)]


async def test_a_guest_killed_in_mid_call_has_died(place: Place) -> None:
    if place.sandbox.name == "docker":
        return  # its processes are the daemon's: see test_docker
    limits = limits_for("died", place.limits)
    execution = await place.sandbox.start(Program(code="await tools.double(1)", tools=("double",)), limits)
    assert isinstance(await execution.advance(), Blocked)
    victim = guest_pids(execution)[-1]
    os.kill(victim, signal.SIGKILL)
    assert await gone(victim)
    event = await execution.advance({1: codemode_sandboxes.Returned(2)})
    assert isinstance(event, Failed)
    assert event.kind == "died"
    with pytest.raises(SandboxClosed):
        await execution.advance()
    assert (await run(place.sandbox, "1 + 1", limits=limits_for("none", place.limits))).value == 2
    assert await place.left() == (0, 0, 0)


async def test_runs_cancelled_twice_leave_nothing(place: Place) -> None:
    assert await cancelled_twice(place) == [asyncio.CancelledError] * 6
    assert (await run(place.sandbox, "1 + 1", limits=limits_for("none", place.limits))).value == 2
    assert await place.left() == (0, 0, 0)


async def cancelled_twice(place: Place) -> list[type]:
    """Cancel runs, and what cleans up after them. What they end with is not kept: it would keep their guests."""
    codes = ["while True: pass", "import asyncio\nawait asyncio.sleep(1)\nwhile True: pass"]
    long = Limits(seconds=30, memory_bytes=place.limits.memory_bytes)
    tasks = [asyncio.create_task(run(place.sandbox, codes[n % 2], limits=long)) for n in range(6)]
    for task in tasks:
        await asyncio.sleep(0.03)
        task.cancel()
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    return [type(result) for result in await asyncio.gather(*tasks, return_exceptions=True)]


HOST = """
import asyncio, os, sys
from codemode_sandboxes import Limits, Program, create_sandbox

async def main():
    sandbox = create_sandbox(sys.argv[1])
    waiting = await sandbox.start(Program(code="await tools.echo(1)", tools=("echo",)))
    await waiting.advance()
    for code in ("while True: pass", DEAF):
        execution = await sandbox.start(Program(code=code), Limits(seconds=float(sys.argv[2])))
        asyncio.get_running_loop().create_task(execution.advance())
    await asyncio.sleep(1)
    print("ready", flush=True)
    await asyncio.sleep(60)

DEAF = "import ctypes, os\\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\\nctypes.CDLL(None).pause()\\nwhile True: pass"
asyncio.run(main())
"""


async def test_nothing_survives_a_host_that_is_killed(place: Place) -> None:
    """Not even a program that has told the kernel that it does not want to end with its parent.

    One that computes in Monty ends with its computing time.
    """
    if place.sandbox.name in ("docker", "ray"):
        return  # the next host removes them: see test_docker; a cluster does: see test_ray
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", HOST, place.sandbox.name, "3" if place.sandbox.name == "monty" else "30"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT.parent}"},
    )
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
    pids = descendants(process.pid)
    assert len([pid for pid in pids if alive(pid)]) >= 2
    process.kill()
    await asyncio.to_thread(process.communicate)
    try:
        assert await gone(*pids)
    finally:
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)
