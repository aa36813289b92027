"""The sandbox `ray`: programs on the machines of a Ray cluster."""

import asyncio
import contextlib
import json
import os
import weakref
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from codemode_sandboxes.contract import Blocked, Capabilities, Event, Failed, Limits, Outcome, Program
from codemode_sandboxes.errors import SandboxClosed, SandboxUnavailable
from codemode_sandboxes.process.channel import shielded
from codemode_sandboxes.process.sandbox import LoopRuns, ask_apart
from codemode_sandboxes.ray.actor import Refusal
from codemode_sandboxes.ray.cluster import NAME, require_ray
from codemode_sandboxes.ray.exchange import HostLost
from codemode_sandboxes.ray.hosts import Host, HostPlan, Hosts
from codemode_sandboxes.registry import backend_name

__all__ = ["RaySandbox", "RemoteExecution"]

T = TypeVar("T")

_CPU = "CPU"
_PATIENCE_SECONDS = 120.0
"""Beyond a program's computing time, for an answer: a host may start many guests first. A host that gives none is lost."""


class RaySandbox:
    """Runs programs in the guests of another sandbox, which actors of a Ray cluster host.

    Tools, journal, approvals and secrets stay in the calling process: programs go out, calls come back. All machines
    need this package in the same version, and what the inner sandbox needs. The cluster is trusted, as Ray's own
    protocol takes every machine's word: a program has no way to it but the inner sandbox's.

    What is left out is read from CODEMODE_RAY_INNER, CODEMODE_RAY_HOSTS, CODEMODE_RAY_ADDRESS, and, as JSON, from
    CODEMODE_RAY_RESOURCES and CODEMODE_RAY_RUNTIME_ENV.

    Args:
        inner: The name of the sandbox on the hosts; by default "bubblewrap".
        hosts: The most actors at one time; by default 8. They are started as programs wait.
        address: The cluster's, as for `ray.init`: "HOST:PORT", "auto" for the one on this machine, "ray://HOST:PORT" for
            a client. By default the one that this process is connected to; else a Ray of its own, on this machine.
        resources: What each host takes of the cluster, by Ray's names; by default {"CPU": 1}.
        runtime_env: Ray's runtime environment of the hosts. What it holds is known to the cluster: no secrets.
        least_hosts: The actors that stay when nothing runs.
        options: Arguments of the inner sandbox.
        start_seconds: Until a first host must be there.
        idle_seconds: After which an idle host above `least_hosts` is ended.

    Raises:
        SandboxUnavailable: Ray is not installed, or not what its client needs, where the address is one of a client.
        UnknownSandbox: No sandbox has the inner name.
        ValueError: A number is too small, a setting is malformed, or the inner sandbox is this one.
    """

    name = NAME

    def __init__(
        self,
        inner: str | None = None,
        hosts: int | None = None,
        address: str | None = None,
        resources: Mapping[str, float] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
        *,
        least_hosts: int = 1,
        options: Mapping[str, Any] | None = None,
        start_seconds: float = 120.0,
        idle_seconds: float = 60.0,
    ) -> None:
        address = address or _setting("ADDRESS", str, "") or os.environ.get("RAY_ADDRESS") or None
        require_ray(address)
        inner = inner if inner is not None else _setting("INNER", str, "bubblewrap")
        most = hosts if hosts is not None else _setting("HOSTS", int, 8)
        if inner != "auto" and (inner := backend_name(inner)) == NAME:
            raise ValueError("inner= names the sandbox that runs on the hosts, which is another than ray")
        if not 1 <= least_hosts <= most:
            raise ValueError("hosts is at least 1, and least_hosts from 1 to hosts")
        self._hosts = Hosts(
            HostPlan(
                inner=inner,
                options=options or {},
                address=address,
                most=most,
                least=least_hosts,
                resources=resources if resources is not None else _setting("RESOURCES", _object, {_CPU: 1}),
                runtime_env=runtime_env if runtime_env is not None else _setting("RUNTIME_ENV", _object, None),
                start_seconds=start_seconds,
                idle_seconds=idle_seconds,
            )
        )
        self._runs: LoopRuns[RemoteExecution] = LoopRuns()
        weakref.finalize(self, self._hosts.drop)

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts that can run programs now."""
        return self._hosts.ready

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the inner sandbox on the cluster, where its first host is asked; that takes seconds.

        Raises:
            SandboxUnavailable: No host can be had.
        """
        if self._hosts.capabilities is None:
            ask_apart(self._hosts.take)
        assert self._hosts.capabilities is not None
        return self._hosts.capabilities

    async def start(self, program: Program, limits: Limits = Limits()) -> "RemoteExecution":  # noqa: B008 - frozen
        """Find a host for a program; see `Sandbox`. The program goes there with the first `advance`."""
        return self._runs.add(RemoteExecution(await self._hosts.take(), next(self._hosts.keys), program, limits))

    async def aclose(self) -> None:
        """End this event loop's runs, and the hosts unless another event loop has runs of its own."""
        if await self._runs.aclose():
            await self._hosts.aclose()


class RemoteExecution:
    """One program on one host. Implements `Execution`.

    Args:
        host: Where it runs.
        key: The run's number there.
        program: The program.
        limits: Its bounds, which the inner sandbox enforces.
    """

    def __init__(self, host: Host, key: int, program: Program, limits: Limits) -> None:
        self.host, self._key, self._program, self._limits = host, key, program, limits
        self._started = self._ended = False
        self._closing: asyncio.Future[None] | None = None
        host.count(runs=1)
        self._at_end = weakref.finalize(self, _forget, host, key)
        self._at_end.atexit = False  # the cluster ends the actors of a process that has left

    @property
    def ended(self) -> bool:
        """True once the last event has been returned, or the run was closed."""
        return self._ended

    async def advance(self, outcomes: Mapping[int, Outcome] | None = None, *, elapsed: float | None = None) -> Event:
        """Run the program until it blocks or ends; see `Execution`.

        Raises:
            SandboxUnavailable: The first time: the host cannot start a guest. Nothing of the program has run.
        """
        if self._ended:
            raise SandboxClosed("this execution has ended")
        try:
            async with asyncio.timeout(self._limits.seconds + _PATIENCE_SECONDS) as patience:
                if self._started:
                    event = await self.host.ask("advance", self._key, dict(outcomes or {}), elapsed)
                else:
                    self._started = True
                    event = await self.host.ask("begin", self._key, self._program, self._limits, elapsed)
        except HostLost as lost:
            return self._died(str(lost))
        except TimeoutError:
            if not patience.expired():
                raise
            self.host.kill()
            return self._died("it does not answer")
        except BaseException:
            self._close()
            raise
        if event is None:
            raise SandboxClosed("this execution was closed")
        if isinstance(event, Refusal):
            self._end()
            raise SandboxUnavailable(NAME, f"on the cluster, {event.reason}", event.remedy)
        if not isinstance(event, Blocked):
            self._end()
        result: Event = event
        return result

    async def aclose(self) -> None:
        """End the guest on its host; see `Execution`."""
        await shielded(self._close())

    def _died(self, reason: str) -> Failed:
        self._end()
        return Failed(kind="died", type="RuntimeError", message=f"the program's host was lost: {reason}")

    def _end(self) -> None:
        """Note that nothing of the run is left on its host."""
        if not self._ended:
            self._ended = True
            self.host.count(runs=-1)
        self._at_end.detach()

    def _close(self) -> "asyncio.Future[None]":
        if self._closing is None:
            is_open = self._started and not self._ended
            self._end()
            self._closing = asyncio.ensure_future(self._free(is_open))
        return self._closing

    async def _free(self, is_open: bool) -> None:
        if is_open:
            with contextlib.suppress(HostLost):  # and the guest with it
                await self.host.ask("end", self._key)


def _forget(host: Host, key: int) -> None:
    """End the run of an execution that nobody holds any more, from a finalizer."""
    host.count(runs=-1)
    if (actor := host.actor) is not None:
        host.cluster.submit(lambda: actor.forget.remote(key))


def _setting(name: str, parse: Callable[[str], T], default: T) -> T:
    """Return a setting of the environment.

    Raises:
        ValueError: It is malformed.
    """
    text = os.environ.get(variable := f"CODEMODE_RAY_{name}")
    if not text:
        return default
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{variable} is malformed: {error}") from None


def _object(text: str) -> Any:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("it takes a JSON object")
    return value
