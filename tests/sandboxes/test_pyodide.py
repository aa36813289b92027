"""Pyodide in its jails: what they hold, however hostile the JavaScript is, and how its workers live and die."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import codemode_sandboxes
import pytest
from codemode_sandboxes import Blocked, Failed, Finished, Limits, Program, SandboxUnavailable
from codemode_sandboxes.pyodide import PyodideSandbox
from codemode_sandboxes.pyodide.jail import JAILS, Jail, find_jail
from codemode_sandboxes.pyodide.packages import find_pyodide

from tests.sandboxes.cases import fake_tools, load, needs_cases
from tests.sandboxes.driving import NOW, double, run
from tests.sandboxes.processes import alive, descendants, gone, make, open_descriptors
from tests.sandboxes.test_guest import TOOLS, VALUES

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

ROOT = Path(codemode_sandboxes.__file__).parents[1]
LIMITS = Limits(seconds=3, memory_bytes=64 << 20, output_bytes=50_000, calls=20, value_bytes=100_000)


@pytest.fixture(scope="module", params=list(JAILS))
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[PyodideSandbox]:
    """The sandbox in each jail."""
    sandbox: PyodideSandbox = make("pyodide", jail=request.param)
    yield sandbox
    await sandbox.aclose()


@pytest.fixture(scope="module")
async def one() -> AsyncIterator[PyodideSandbox]:
    """The sandbox in the first jail that works, for what does not depend on the jail."""
    sandbox: PyodideSandbox = make("pyodide")
    yield sandbox
    await sandbox.aclose()


@needs_cases
@pytest.mark.parametrize("case", load("benign"), ids=lambda case: case["id"])
async def test_ordinary_programs(one: PyodideSandbox, case: dict[str, Any]) -> None:
    result = await run(one, case["code"] + "\nawait main()", fake_tools())
    assert (result.value, result.stdout) == (case["expected"], case["expected_stdout"])


@needs_cases
@pytest.mark.parametrize("case", load("benign")[::8], ids=lambda case: case["id"])
async def test_ordinary_programs_in_each_jail(sandbox: PyodideSandbox, case: dict[str, Any]) -> None:
    result = await run(sandbox, case["code"] + "\nawait main()", fake_tools())
    assert (result.value, result.stdout) == (case["expected"], case["expected_stdout"])


@pytest.mark.parametrize("code", VALUES)
async def test_programs_mean_the_same_as_in_every_guest(one: PyodideSandbox, code: str) -> None:
    assert (await run(one, code, TOOLS, seed=7)).value == VALUES[code]


async def test_it_is_truthful_about_itself(sandbox: PyodideSandbox) -> None:
    capabilities = sandbox.capabilities
    imports = "".join(f"import {name}\n" for name in sorted(capabilities.modules))
    result = await run(sandbox, f"{imports}sys.version.split()[0]")
    assert capabilities.language == f"CPython {result.value} (Pyodide)"
    assert {"json", "re", "datetime", "zoneinfo", "statistics", "asyncio", "decimal"} <= capabilities.modules
    assert capabilities.boundary == "wasm"
    assert capabilities.enforces == {"time", "memory", "output", "processes", "files", "network"}
    assert sandbox.layers[0].startswith(sandbox._jail)


async def test_every_run_draws_from_its_own_seed(one: PyodideSandbox) -> None:
    code = "import random, uuid, os\n[random.random(), str(uuid.uuid4()), os.urandom(4).hex(), hash('a')]"
    first, again, other = [(await run(one, code, seed=seed)).value for seed in (1, 1, 2)]
    assert first == again
    assert [a == b for a, b in zip(first, other, strict=True)] == [False, False, False, True]


async def test_ten_megabytes_go_in_and_out(sandbox: PyodideSandbox) -> None:
    text = "é€x" * 2_500_000

    async def tool(given: str, *, more: int) -> str:
        assert (given, more) == (text, 1)
        return given[::-1]

    code = "text = 'é€x' * 2_500_000\nback = await tools.tool(text, more=1)\nback[::-1] == text, back"
    value = (await run(sandbox, code, {"tool": tool}, limits=Limits(seconds=60))).value
    assert value == [True, text[::-1]]


# What JavaScript itself can do in a jail, where nothing was taken away from it.


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what hostile JavaScript is to reach, and the listener that hears of it."""
    tmp_path.chmod(0o777)
    for name, content in {"secret": "token-of-the-file", "module.mjs": "export default 'token-of-the-file'"}.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o666)
    monkeypatch.setenv("CODEMODE_CANARY", "token-of-the-environment")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield (
            {
                "file": str(tmp_path / "secret"),
                "folder": str(tmp_path),
                "variable": "CODEMODE_CANARY",
                "port": listener.getsockname()[1],
                "host": os.getpid(),
                "write": str(tmp_path / "written"),
            },
            listener,
        )


HOSTILE = Path(__file__).parent / "hostile" / "hostile.mjs"


def heard(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize("name", JAILS)
def test_a_jail_alone_holds_hostile_javascript(name: Any, plan: Any) -> None:
    make("pyodide", jail=name)
    aims, listener = plan
    jail = find_jail(name, node=None, deno=None)
    done = subprocess.run(
        jail.command(HOSTILE, json.dumps(aims), memory_bytes=64 << 20),
        env=jail.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = json.loads(done.stdout)
    assert said["worked"] == {}
    assert len(said["failed"]) == 27
    assert "token-of" not in done.stdout
    assert not heard(listener)
    assert not (Path(aims["folder"]) / "written").exists()


def test_without_a_jail_the_same_javascript_reaches_all(plan: Any) -> None:
    """So the attempts are real. This one only reads, writes and connects to what this test made."""
    make("pyodide")
    aims, listener = plan
    node = find_jail("namespaces", node=None, deno=None)._program
    done = subprocess.run([node, HOSTILE, json.dumps(aims)], capture_output=True, text=True, timeout=60)
    worked = json.loads(done.stdout)["worked"]
    assert {"read a file", "import a file", "list a folder", "write a file", "the environment", "a command"} <= set(
        worked
    )
    assert {"a connection", "the host is there", "code from text", "a binding of node"} <= set(worked)
    assert heard(listener)
    assert (Path(aims["folder"]) / "written").exists()


# How a program gets hold of JavaScript: the runner's own functions are in the frames below it.
REACH = """
import gc, os, sys
frame = sys._getframe()
while not (frame.f_code.co_name == "serve" and "attach" in frame.f_locals):
    frame = frame.f_back
attach, read, write, leave = (frame.f_locals[name] for name in ("attach", "read", "write", "leave"))
"""

# What it does then: the type of the exception that it gets, or its value.
REACHES = {
    "read.constructor('return process')()": "JsException",
    "read.constructor.constructor('return import(\"node:fs\")')()": "JsException",
    "read.constructor.prototype.constructor('return 1')": "JsException",
    "import js": "ModuleNotFoundError",
    "import pyodide_js": "ModuleNotFoundError",
    "from pyodide.code import run_js": "ModuleNotFoundError",
    "from pyodide.http import pyfetch": "ModuleNotFoundError",
    "open('@FILE@')": "PermissionError",
    "open('/lib/python314.zip', 'rb')": "PermissionError",
    "open('/tmp/x', 'w')": "PermissionError",
    "os.listdir('/')": "PermissionError",
    "os.mkdir('/tmp/y')": "PermissionError",
    "os.pipe()": "PermissionError",
    "__import__('socket').create_connection(('127.0.0.1', @PORT@))": "PermissionError",
    "__import__('subprocess').run(['true'])": "OSError",
    "os.fork()": "OSError",
    "os.execv('/bin/sh', ['sh', '-c', 'touch @WRITE@'])": "OSError",
    "os.system('touch @WRITE@')": "PermissionError",
    "os.environ['HOME']": "KeyError",
    "read(0).constructor": "AttributeError",
    "attach(read)": "JsException",
    "attach(bytearray(1 << 16))": None,
    "leave(3)": None,
    "read(1 << 20)": None,
    "write(3)": None,
    "write(1 << 40)": None,
    "__import__('_pyodide_core').trigger_fatal_error()": None,
}


@pytest.mark.parametrize("code", REACHES)
async def test_a_program_that_has_javascript_has_nothing(sandbox: PyodideSandbox, plan: Any, code: str) -> None:
    aims, listener = plan
    placed = code.replace("@FILE@", aims["file"]).replace("@PORT@", str(aims["port"])).replace("@WRITE@", aims["write"])
    failed = (await run(sandbox, f"{REACH}{placed}\n1", limits=LIMITS)).failed
    assert (failed.type == REACHES[code]) if REACHES[code] else failed.kind in ("died", "protocol", "timeout"), failed
    assert not heard(listener)
    assert "written" not in os.listdir(aims["folder"])  # noqa: PTH208


# What depends on the jail; other faults are in test_faults. The kind of failure, and a part of the message.
FAULTS = {
    "import os\nos._exit(7)": ("died", "exit status 7"),
    "x = []\nwhile True: x.append(bytes(1 << 20))": ("memory", "64 MB"),
    "await tools.huge()": ("memory", ""),
    "import sys\nsys.stdin.read() or open(0).read()": ("program", ""),
}


@pytest.mark.parametrize("code", FAULTS)
async def test_a_fault_ends_its_own_run_and_no_other(sandbox: PyodideSandbox, code: str) -> None:
    async def huge() -> str:
        return "x" * (80 << 20)

    failed = (await run(sandbox, code, {"double": double, "huge": huge}, limits=LIMITS)).failed
    kind, part = FAULTS[code]
    assert failed.kind == kind
    assert part in failed.message
    assert (await run(sandbox, "1 + 1", limits=LIMITS)).value == 2


@pytest.mark.parametrize("memory", [32, 64, 512])
async def test_each_run_has_its_own_memory_limit(one: PyodideSandbox, memory: int) -> None:
    limits = Limits(memory_bytes=memory << 20)
    value = (await run(one, f"x = bytes({memory - 16} << 20)\nlen(x) >> 20", limits=limits)).value
    assert value == memory - 16
    assert (await run(one, f"x = bytes({memory + 40} << 20)", limits=limits)).failed.kind == "memory"


async def test_a_guest_killed_from_outside_has_died(sandbox: PyodideSandbox) -> None:
    execution = await sandbox.start(Program(code="await tools.echo(1)", tools=("echo",)))
    assert isinstance(await execution.advance(), Blocked)
    inner = descendants(worker_pid(execution)) or [worker_pid(execution)]
    os.kill(inner[-1], signal.SIGKILL)
    event = await execution.advance()
    assert isinstance(event, Failed)
    assert event.kind == "died"
    assert (await run(sandbox, "1 + 1")).value == 2


def worker_pid(execution: Any) -> int:
    pid: int = execution._channel.process._popen.pid
    return pid


async def test_cancelled_twice_and_closed_meanwhile_leaves_nothing(sandbox: PyodideSandbox) -> None:
    await sandbox.aclose()
    gc.collect()
    before = open_descriptors(os.getpid()), descendants(os.getpid())
    tasks = [asyncio.create_task(run(sandbox, "while True: pass")) for _ in range(3)]
    tasks.append(asyncio.create_task(run(sandbox, "import asyncio\nawait asyncio.sleep(1)\nwhile True: pass")))
    await asyncio.sleep(0.3)
    tasks[0].cancel()
    await asyncio.sleep(1)
    for _ in range(2):
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 4
    assert (await run(sandbox, "1 + 1")).value == 2
    await sandbox.aclose()
    assert await gone(*(set(descendants(os.getpid())) - set(before[1])))
    assert open_descriptors(os.getpid()) == before[0]
    assert sandbox._alive.value == 0


async def test_a_forgotten_execution_is_killed(one: PyodideSandbox) -> None:
    execution = await one.start(Program(code="await tools.echo(1)", tools=("echo",)))
    assert isinstance(await execution.advance(), Blocked)
    pids = [worker_pid(execution), *descendants(worker_pid(execution))]
    del execution
    gc.collect()
    assert await gone(*pids)


async def test_no_more_workers_than_allowed_and_those_who_wait_get_theirs() -> None:
    sandbox: PyodideSandbox = make("pyodide", max_workers=2)
    try:
        most = 0

        async def tool() -> int:
            nonlocal most
            most = max(most, sandbox._alive.value)
            return 1

        results = await asyncio.gather(*[run(sandbox, "await tools.tool()", {"tool": tool}) for _ in range(5)])
        assert [result.value for result in results] == [1] * 5
        assert most <= 2
    finally:
        await sandbox.aclose()


def is_worker(pid: int) -> bool:
    try:
        name, *rest = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return Path(name.decode()).name in ("node", "deno") and b"serve" in rest


async def test_a_spare_that_died_is_not_given_out(one: PyodideSandbox) -> None:
    await run(one, "1")
    await asyncio.sleep(0.3)  # then the spare is asked for
    for pid in filter(is_worker, descendants(os.getpid())):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert [(await run(one, "1 + 1")).value for _ in range(2)] == [2, 2]


async def test_no_run_sees_another(one: PyodideSandbox) -> None:
    await run(one, "import json, builtins, sys\njson.dumps = builtins.len = sys.modules['re'] = None\n1")
    assert (await run(one, "import json, re\n[json.dumps(1), len('a'), re.__name__]")).value == ["1", 1, "re"]


HOST = """
import asyncio, json, os, sys
from codemode_sandboxes import Blocked, Program
from codemode_sandboxes.pyodide import PyodideSandbox
from tests.sandboxes.processes import descendants

async def main():
    sandbox = PyodideSandbox(jail=sys.argv[1])
    waiting = await sandbox.start(Program(code="await tools.echo(1)", tools=("echo",)))
    await waiting.advance()
    spinning = await sandbox.start(Program(code="while True: pass"))
    asyncio.get_running_loop().create_task(spinning.advance())
    await asyncio.sleep(1)
    print(json.dumps(descendants(os.getpid())), flush=True)
    if sys.argv[2] == "wait":
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("ending", ["wait", "end"])
async def test_nothing_survives_the_host(sandbox: PyodideSandbox, ending: str) -> None:
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-W", "error", "-c", HOST, sandbox._jail, ending],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT.parent}"},
    )
    assert process.stdout is not None
    pids = json.loads(await asyncio.to_thread(process.stdout.readline))
    assert len([pid for pid in pids if alive(pid)]) >= 3 or ending == "end"
    if ending == "wait":
        process.kill()
    _, errors = await asyncio.to_thread(process.communicate)
    assert await gone(*pids)
    assert ending == "wait" or (process.returncode, errors) == (0, "")


# What is missing is said, with the command that brings it.


@pytest.mark.parametrize(
    ("options", "part", "remedy"),
    [
        ({"cache": "{empty}"}, "pyodide is not installed", "python -m codemode_sandboxes.pyodide install"),
        ({"pyodide": "{empty}"}, "no npm package pyodide in", "python -m codemode_sandboxes.pyodide install"),
        ({"pyodide": "{old}"}, "it needs pyodide 314.0.7, not 0.27.0", "python -m codemode_sandboxes.pyodide install"),
        ({"jail": "namespaces", "node": "/no/node"}, "namespaces: /no/node is not there", "Node.js 20"),
        ({"jail": "deno", "deno": "/no/deno"}, "deno: /no/deno is not there", "codemode-sandboxes[pyodide]"),
        (
            {"jail": "namespaces", "node": "/bin/true"},
            "node does not start there: exit status 0",
            "codemode-sandboxes[pyodide]",
        ),
    ],
)
async def test_what_is_missing_is_said(tmp_path: Path, options: dict[str, str], part: str, remedy: str) -> None:
    make("pyodide")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "package.json").write_text('{"version": "0.27.0"}')
    places = {"empty": str(tmp_path / "empty"), "old": str(tmp_path / "old")}
    wanted: Any = {name: value.format(**places) for name, value in options.items()}
    with pytest.raises(SandboxUnavailable) as raised:
        await PyodideSandbox(**wanted).start(Program(code="1"))
    assert part in raised.value.reason
    assert remedy in raised.value.remedy


async def test_no_jail_is_no_sandbox_however_much_else_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    make("pyodide")

    def refused(self: Jail) -> tuple[int, ...]:
        raise SandboxUnavailable("pyodide", "the kernel refuses")

    monkeypatch.setattr(Jail, "_probe", refused)
    with pytest.raises(SandboxUnavailable, match=r"no jail works here: bubblewrap.*; deno: .*; namespaces: ") as raised:
        await PyodideSandbox().start(Program(code="1"))
    assert "deno" in raised.value.remedy


def test_a_snapshot_is_made_once(tmp_path: Path) -> None:
    first: PyodideSandbox = make("pyodide", cache=tmp_path, pyodide=find_pyodide(None, PyodideSandbox()._cache))
    place = first._find().snapshot
    made = place.stat().st_ino
    assert place.parent == tmp_path / "snapshots"
    again = PyodideSandbox(cache=tmp_path, pyodide=first._find().pyodide)
    assert again._find().snapshot == place
    assert place.stat().st_ino == made
    assert [path.name for path in place.parent.iterdir()] == [place.name]


async def test_snapshots_that_nobody_uses_go_and_one_that_is_used_comes_back(tmp_path: Path) -> None:
    folder, month = tmp_path / "snapshots", time.time() - 31 * 24 * 3600
    folder.mkdir()
    unused, recent = folder / "unused.bin", folder / "recent.bin"
    for path in (unused, recent):
        path.touch()
    os.utime(unused, (month, month))
    sandbox: PyodideSandbox = make("pyodide", cache=tmp_path, pyodide=find_pyodide(None, PyodideSandbox()._cache))
    assert (await run(sandbox, "1")).value == 1
    place = sandbox._find().snapshot
    assert sorted(folder.iterdir()) == sorted([place, recent])
    await sandbox.aclose()
    os.utime(place, (month, month))
    assert sandbox._find().snapshot == place
    assert place.stat().st_mtime > month + 1
    place.unlink()
    assert (await run(sandbox, "3")).value == 3
    assert place.is_file()
    await sandbox.aclose()


async def test_each_version_of_node_has_a_snapshot_of_its_own(tmp_path: Path) -> None:
    """A snapshot of one version may not start in another."""
    pyodide = find_pyodide(None, PyodideSandbox()._cache)
    found = {}
    for node in (None, "node"):
        sandbox: PyodideSandbox = make("pyodide", cache=tmp_path, pyodide=pyodide, node=node, jail="namespaces")
        assert (await run(sandbox, "6 * 7")).value == 42
        found[sandbox._find().jail.version] = sandbox._find().snapshot
        await sandbox.aclose()
    assert len(set(found.values())) == len(found)


async def test_event_loops_may_follow_one_another() -> None:
    sandbox: PyodideSandbox = make("pyodide")

    async def once() -> Any:
        return await sandbox_run(sandbox)

    values = [await asyncio.to_thread(asyncio.run, once()) for _ in range(2)]
    assert values == [Finished(42)] * 2
    await asyncio.to_thread(asyncio.run, sandbox.aclose())
    for _ in range(1000):  # a spare that was starting ends when it has started
        if sandbox._alive.value == 0:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{sandbox._alive.value} workers are left")


async def sandbox_run(sandbox: PyodideSandbox) -> Any:
    execution = await sandbox.start(Program(code="6 * 7", now=NOW))
    return await execution.advance()


def test_the_install_command_says_what_it_lacks(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "codemode_sandboxes.pyodide", "install", "--cache", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "", "PYTHONPATH": str(ROOT)})
    assert done.returncode == 1
    assert "npm is not installed" in done.stderr
    assert not list(tmp_path.iterdir())


async def test_its_thread_does_not_keep_a_process_that_wants_to_end(one: PyodideSandbox) -> None:
    await run(one, "1")
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "codemode-pyodide"] == [True]
