"""Programs on a Ray cluster of two nodes: hosts that die, clusters that are full or gone, and what is left."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from codemode_sandboxes import (
    Blocked,
    Failed,
    Finished,
    Program,
    Returned,
    SandboxClosed,
    SandboxUnavailable,
    UnknownSandbox,
    create_sandbox,
)

from benchmarks.boxes import processes
from benchmarks.ray_cluster import kill_hosts
from tests.sandboxes.driving import echo, run
from tests.sandboxes.processes import gone, make
from tests.sandboxes.ray_cluster import cluster_processes, own_cluster

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'sandboxes'}"}
CALL = Program(code="await tools.echo(1)", tools=("echo",))


@pytest.fixture
async def sandbox() -> AsyncIterator[Any]:
    """Two hosts of Monty, which starts fastest."""
    sandbox = make("ray", inner="monty", hosts=2, least_hosts=2)
    yield sandbox
    await sandbox.aclose()


def host_pid(execution: Any) -> int:
    return int(execution.host.opened.result().pid)


async def eventually_runs(sandbox: Any) -> None:
    """Wait until a program runs: one may be sent to a host whose end is not known yet."""
    async with asyncio.timeout(60):
        while not isinstance((await run(sandbox, "1")).event, Finished):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)


async def on_two_hosts(sandbox: Any) -> list[Any]:
    """Runs that wait for a call, on two hosts."""
    executions: list[Any] = []
    async with asyncio.timeout(60):
        while len({host_pid(each) for each in executions}) < 2:  # the second host is on its way
            executions.append(await sandbox.start(CALL))
            assert isinstance(await executions[-1].advance(), Blocked)
            await asyncio.sleep(0.05)
    return executions


@pytest.mark.slow
async def test_a_host_that_is_killed_ends_its_own_runs_alone(sandbox: Any) -> None:
    executions = await on_two_hosts(sandbox)
    victim = host_pid(executions[0])
    os.kill(victim, signal.SIGKILL)
    assert await gone(victim)
    for execution in executions:
        event = await execution.advance({1: Returned(2)})
        if host_pid(execution) == victim:
            assert isinstance(event, Failed)
            assert (event.kind, event.type) == ("died", "RuntimeError")
            assert event.message.startswith("the program's host was lost")
            with pytest.raises(SandboxClosed):
                await execution.advance()
        else:
            assert event == Finished(2)
    assert {(await run(sandbox, "6 * 7")).value for _ in range(8)} == {42}  # none is sent to the one that is gone


@pytest.mark.slow
async def test_a_run_that_is_closed_while_it_computes_says_so(sandbox: Any) -> None:
    execution = await sandbox.start(Program(code="while True: pass"))
    running = asyncio.create_task(execution.advance())
    await asyncio.sleep(0.2)
    await execution.aclose()
    with pytest.raises(SandboxClosed):
        await running
    assert [host.runs for host in sandbox._hosts._hosts] == [0] * len(sandbox._hosts._hosts)


@pytest.mark.slow
async def test_a_node_that_leaves_ends_the_runs_that_were_on_it_alone(sandbox: Any) -> None:
    node = own_cluster().add_node(resources={"leaving": 1})
    leaving = make("ray", inner="monty", hosts=1, resources={"leaving": 1}, start_seconds=30)
    try:
        lost, stays = await leaving.start(CALL), await sandbox.start(CALL)
        for execution in (lost, stays):
            assert isinstance(await execution.advance(), Blocked)
        await asyncio.to_thread(own_cluster().remove_node, node, suddenly=True)
        event = await lost.advance({1: Returned(2)})
        assert isinstance(event, Finished) or event.kind == "died"  # a process outlives its node by some seconds
        assert await gone(host_pid(lost))
        assert await stays.advance({1: Returned(2)}) == Finished(2)
    finally:
        await leaving.aclose()


@pytest.mark.slow
async def test_hosts_are_killed_at_random_and_no_payment_is_lost_or_made_twice() -> None:
    sandbox = make("ray", inner="monty", hosts=3, least_hosts=3)
    try:
        found = await kill_hosts(sandbox, hosts=3, kills=5)
    finally:
        await sandbox.aclose()
    assert (found.kills, found.lost, found.doubled, found.unstated) == (5, 0, 0, 0)
    assert found.runs >= 1
    assert all("the program's host was lost" in ending for ending in found.endings)


@pytest.mark.slow
async def test_the_hosts_grow_with_the_programs_that_wait_and_shrink() -> None:
    sandbox = make("ray", inner="monty", hosts=2, idle_seconds=0.5)
    try:
        await run(sandbox, "1")
        assert len(sandbox.hosts) == 1
        await asyncio.gather(
            *[run(sandbox, "import asyncio\nawait asyncio.sleep(0.01)\nsum(range(10**5))") for _ in range(12)]
        )
        async with asyncio.timeout(60):
            while len(sandbox.hosts) < 2:
                await asyncio.gather(*[run(sandbox, "1") for _ in range(12)])
            while len(sandbox.hosts) > 1:  # noqa: ASYNC110 - nobody tells when a host has ended
                await asyncio.sleep(0.1)
        assert (await run(sandbox, "6 * 7")).value == 42
    finally:
        await sandbox.aclose()


@pytest.mark.slow
async def test_event_loops_share_the_hosts_and_each_ends_its_own_runs(sandbox: Any) -> None:
    own = await sandbox.start(CALL)
    assert isinstance(await own.advance(), Blocked)

    async def elsewhere() -> Any:
        forgotten = await sandbox.start(CALL)
        await forgotten.advance()
        value = (await run(sandbox, "6 * 7")).value
        await sandbox.aclose()
        return value

    assert await asyncio.to_thread(asyncio.run, elsewhere()) == 42
    assert await own.advance({1: Returned(2)}) == Finished(2)


@pytest.mark.slow
def test_the_example_does_its_tasks_on_a_cluster() -> None:
    make("ray", inner="monty")  # or skip
    command = [sys.executable, "examples/many_tasks_on_ray.py", "--tasks", "20", "--address", own_cluster().address]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("20 of 20 tasks are right")


@pytest.mark.slow
async def test_a_host_that_is_killed_as_it_starts_is_replaced(sandbox: Any) -> None:
    def kill_first() -> int:
        for _ in range(6000):
            for pid in cluster_processes():
                with contextlib.suppress(OSError):
                    if b"HostActor" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, signal.SIGKILL)
                        return pid
            time.sleep(0.01)
        raise AssertionError("no host has started")

    first, ended = await asyncio.gather(asyncio.to_thread(kill_first), run(sandbox, "6 * 7"))
    assert ended.value == 42
    assert first not in {host.pid for host in sandbox.hosts}


CALLER = """
import asyncio, sys
from codemode_sandboxes import Blocked, Program, create_sandbox

async def main():
    sandbox = create_sandbox("ray", inner="monty", hosts=1, address=sys.argv[1], resources={"CPU": 0.5})
    execution = await sandbox.start(Program(code="await tools.echo(1)", tools=("echo",)))
    assert isinstance(await execution.advance(), Blocked)
    print(sandbox.hosts[0].pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_caller_that_is_killed_leaves_no_host_and_no_guest() -> None:
    make("ray", inner="monty")  # or skip
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-c", CALLER, own_cluster().address], env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    host = int(await process.stdout.readline())
    guests = processes.descendants(host)
    assert guests
    process.kill()
    await process.wait()
    assert await gone(host, *guests)


ALONE = """
import asyncio, contextlib, dataclasses, json, os
from pathlib import Path
from codemode_sandboxes import Blocked, Program, Returned, SandboxUnavailable, create_sandbox
from tests.sandboxes.processes import alive, descendants, gone

def processes(*names):
    found = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in descendants(os.getpid()) if alive(pid)}
    return [pid for pid, name in found.items() if not names or name in names]

def addresses():
    # Those that this process and its descendants listen on, as the kernel writes them.
    sockets = set()
    for pid in [os.getpid(), *processes()]:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(descriptor))
    lines = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/net/{name}").readlines()[1:]]
    return {line[1].partition(":")[0] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets}

def folders():
    return {path for path in Path("/tmp").iterdir() if path.name.startswith("cmray-")}

async def main():
    before = folders()
    sandbox = create_sandbox("ray", inner="monty")
    waiting = await sandbox.start(Program(code="await tools.echo(1)", tools=("echo",)))
    assert isinstance(await waiting.advance(), Blocked)
    listening = addresses()
    secrets = [pid for pid in processes() if b"canary-71c2" in Path(f"/proc/{pid}/environ").read_bytes()]
    for pid in [*processes("gcs_server", "raylet"), sandbox.hosts[0].pid]:
        os.kill(pid, 9)
    event = await waiting.advance({1: Returned(2)})
    sandbox._hosts.plan = dataclasses.replace(sandbox._hosts.plan, start_seconds=3)
    missing = None
    while missing is None:
        try:
            execution = await sandbox.start(Program(code="1"))
            await execution.advance()
        except SandboxUnavailable as error:
            missing = error.reason
    await sandbox.aclose()
    again = create_sandbox("ray", inner="monty")
    execution = await again.start(Program(code="6 * 7"))
    value = (await execution.advance()).value
    await again.aclose()
    assert await gone(*processes())
    left = sorted(map(str, folders() - before))
    print(json.dumps([sorted(listening), secrets, event.kind, missing, value, left]))

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_process_outlives_its_cluster_and_a_ray_of_its_own_leaves_nothing() -> None:
    make("ray", inner="monty")  # or skip
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        env={**ENVIRONMENT, "OPENAI_API_KEY": "canary-71c2"},
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    addresses, secrets, kind, missing, value, left = json.loads(done.stdout)
    assert addresses == ["0000000000000000FFFF00000100007F", "0100007F"]  # 127.0.0.1, in both versions of the protocol
    assert (secrets, kind) == ([], "died")
    assert missing == "its cluster is gone: nobody listens there any more"
    assert (value, left, done.stderr) == (42, [], "")


@pytest.mark.slow
async def test_a_cluster_is_reached_as_a_client() -> None:
    sandbox = make("ray", inner="monty", address=own_cluster().client_address)
    try:
        # The server forks while it has threads in gRPC: its child may crash, and the next attempt connects anew.
        for attempt in range(3):
            try:
                await run(sandbox, "1")
                break
            except SandboxUnavailable as error:
                if attempt == 2 or "Initialization failure from server" not in error.reason:
                    raise
        program = "(await tools.echo(6 * 7, 'x' * 200_000))[0]"
        runs = await asyncio.gather(*[run(sandbox, program, {"echo": echo}) for _ in range(20)])
        assert {(each.value[0], len(each.value[1])) for each in runs} == {(42, 200_000)}
        victim, waiting = sandbox.hosts[0].pid, await sandbox.start(CALL)
        assert isinstance(await waiting.advance(), Blocked)
        for host in sandbox.hosts:
            os.kill(host.pid, signal.SIGKILL)
        assert await gone(victim)
        event = await waiting.advance({1: Returned(2)})
        assert isinstance(event, Failed)
        assert event.kind == "died"
        await eventually_runs(sandbox)
    finally:
        await sandbox.aclose()


@pytest.mark.slow
async def test_a_cluster_that_is_full_is_not_available() -> None:
    full = make("ray", inner="monty", resources={"CPU": 64}, start_seconds=2)
    with pytest.raises(SandboxUnavailable, match="the cluster is full or does not answer") as raised:
        await full.start(CALL)
    assert raised.value.remedy.startswith("Each host takes 64 CPU")
    await full.aclose()


@pytest.mark.slow
async def test_what_is_missing_on_the_cluster_is_said() -> None:
    for options, reason in (
        ({"inner": "bubblewrap", "options": {"executable": "/no/bwrap"}}, "the command bwrap is not installed"),
        ({"inner": "monty", "options": {"unknown": 1}}, "monty cannot be made there"),
        ({"inner": "monty", "runtime_env": {"working_dir": "/no/folder"}}, "a host did not start"),
    ):
        sandbox = make("ray", **options)
        with pytest.raises(SandboxUnavailable, match=reason):
            await sandbox.start(CALL)
        await sandbox.aclose()


@pytest.mark.slow
async def test_what_the_inner_sandbox_offers_is_asked_on_the_hosts(sandbox: Any) -> None:
    inner = create_sandbox("monty").capabilities
    able = await asyncio.to_thread(lambda: sandbox.capabilities)
    assert (able.language, able.boundary, able.modules) == (inner.language, inner.boundary, inner.modules)
    assert [gap.name for gap in able.gaps] == [gap.name for gap in inner.gaps]
    assert not able.snapshots


@pytest.mark.slow
async def test_a_large_value_goes_there_and_back(sandbox: Any) -> None:
    code = "a = await tools.echo('x' * 3_000_000)\nlen(a[0][0])"
    assert (await run(sandbox, code, {"echo": echo})).value == 3_000_000


def test_settings_are_read_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEMODE_RAY_INNER", "monty")
    monkeypatch.setenv("CODEMODE_RAY_HOSTS", "3")
    monkeypatch.setenv("CODEMODE_RAY_ADDRESS", "ray://head:10001")
    monkeypatch.setenv("CODEMODE_RAY_RESOURCES", '{"CPU": 0.5, "memory": 1e9}')
    sandbox: Any = create_sandbox("ray")
    plan = sandbox._hosts.plan
    assert (plan.inner, plan.most, plan.address) == ("monty", 3, "ray://head:10001")
    assert plan.resources == {"CPU": 0.5, "memory": 1e9}
    sandbox = create_sandbox("ray", inner="restricted", hosts=1, address="auto", resources={})
    assert (sandbox._hosts.plan.inner, sandbox._hosts.plan.address) == ("restricted", "auto")
    monkeypatch.setenv("CODEMODE_RAY_RUNTIME_ENV", "[1]")
    with pytest.raises(ValueError, match="CODEMODE_RAY_RUNTIME_ENV is malformed: it takes a JSON object"):
        create_sandbox("ray")


def test_a_sandbox_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(UnknownSandbox):
        create_sandbox("ray", inner="quantum")
    for options in ({"inner": "ray"}, {"hosts": 0}, {"hosts": 2, "least_hosts": 3}):
        with pytest.raises(ValueError, match="hosts"):
            create_sandbox("ray", **options)
