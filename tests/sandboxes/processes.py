"""Sandboxes whose guests are processes: which of them are here, and what their processes do."""

import asyncio
import contextlib
import dataclasses
import os
import time
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from codemode_sandboxes import SANDBOXES, Limits, SandboxUnavailable, create_sandbox

from benchmarks.boxes import processes
from benchmarks.boxes.processes import children
from tests.sandboxes.ray_cluster import CPUS, cluster_processes, own_cluster

__all__ = [
    "JAILS",
    "TIGHT",
    "alive",
    "children",
    "computing",
    "descendants",
    "every_process_sandbox",
    "every_sandbox",
    "gone",
    "limits_for",
    "make",
    "open_descriptors",
    "ticks",
]

JAILS = ("bubblewrap", "nsjail")
TIGHT = Limits(seconds=0.5, memory_bytes=64 << 20, output_bytes=50_000, calls=20, value_bytes=100_000)


def limits_for(kinds: str | None, limits: Limits = TIGHT) -> Limits:
    """Return limits for a program that fails in one of these kinds: on a busy machine another failure becomes no timeout."""
    return limits if "timeout" in (kinds or "timeout").split("|") else dataclasses.replace(limits, seconds=60)


_MUST_BE_HERE = "CODEMODE_ALL_SANDBOXES"
"""1, or the names of those that must be."""


def every_process_sandbox(*, slow_jails: bool = False) -> list[Any]:
    """Names for a parametrised fixture."""
    marks = [pytest.mark.slow] if slow_jails else []
    jails = [pytest.param(name, marks=marks) for name in JAILS]
    return ["restricted", *jails, pytest.param("docker", marks=pytest.mark.slow)]


def every_sandbox() -> list[Any]:
    """Names of all sandboxes, for a parametrised fixture; those that take seconds to start are slow."""
    quick = ("monty", "restricted")
    return [pytest.param(name, marks=[] if name in quick else [pytest.mark.slow]) for name in sorted(SANDBOXES)]


def make(name: str, **options: Any) -> Any:
    """Make a sandbox, or skip the test, saying what to install; continuous integration does not let all be skipped."""
    try:
        sandbox: Any = _SPECIAL.get(name, partial(create_sandbox, name))(**options)
        assert getattr(sandbox, "layers", True)
    except SandboxUnavailable as error:
        if (wanted := os.environ.get(_MUST_BE_HERE, "")) == "1" or name in wanted.split():
            raise
        pytest.skip(str(error))
    return sandbox


def _docker(**options: Any) -> Any:
    """A sandbox of this machine's Docker daemon, whose guests can be watched as other processes can."""
    from codemode_sandboxes.docker import DockerSandbox
    from codemode_sandboxes.docker.daemon import Daemon

    class Watched(DockerSandbox):
        async def start(self, *arguments: Any) -> Any:
            execution: Any = await super().start(*arguments)
            try:
                await asyncio.to_thread(watch, execution._channel.process)
            except BaseException:
                await execution.aclose()
                raise
            return execution

    def watch(process: Any) -> None:  # all of it in the thread, which a cancelled run does not wait for
        daemon = Daemon(process.guest.address)
        try:
            process._pidfd = os.pidfd_open(daemon._api.inspect_container(process.guest.name)["State"]["Pid"])
        finally:
            daemon.close()
        weakref.finalize(process, os.close, process._pidfd)

    return Watched(**options)


def _ray(**options: Any) -> Any:
    """A sandbox on a cluster of the tests' own."""
    create_sandbox("ray")  # which raises where Ray is not installed
    return create_sandbox("ray", **{"address": own_cluster().address, "resources": CPUS, "hosts": 3, **options})


_SPECIAL = {"docker": _docker, "ray": _ray}


def descendants(pid: int) -> list[int]:
    """Return the processes that descend from one, without those of the session's own Ray cluster, which come and go."""
    others = cluster_processes()
    return [each for each in processes.descendants(pid) if each not in others]


def alive(pid: int) -> bool:
    """Return whether a process runs."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


async def gone(*pids: int, seconds: float = 60) -> bool:
    """Wait until none of these processes lives; their end is the kernel's to bring about."""
    end = time.monotonic() + seconds
    while any(map(alive, pids)):
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.005)
    return True


def ticks(pid: int) -> int:
    """Count the processor time that a process has used, in the kernel's ticks; -1 where it has ended."""
    with contextlib.suppress(OSError):
        return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return -1


async def computing(pid: int) -> None:
    """Wait until a process computes, or has ended."""
    end = ticks(pid) + 2
    for _ in range(10_000):
        if not 0 <= ticks(pid) < end:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"process {pid} does not compute")


def open_descriptors(pid: int) -> int:
    """Count a process's open descriptors."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
