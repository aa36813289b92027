"""The hosts: actors that are started as programs wait, and ended when they are idle."""

import asyncio
import dataclasses
import itertools
import math
import threading
import time
import weakref
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from codemode_sandboxes.contract import Capabilities
from codemode_sandboxes.errors import SandboxError, SandboxUnavailable
from codemode_sandboxes.process.channel import shielded
from codemode_sandboxes.ray.actor import Fault, HostActor, Offer, Refusal, package_version
from codemode_sandboxes.ray.cluster import NAME, REMEDY, Cluster, connect, release
from codemode_sandboxes.ray.exchange import Exchange, HostLost

__all__ = ["Host", "HostPlan", "Hosts"]

_WAITING = 4  # programs that compute on a host, or wait for it, before another host is started
_PENDING = 1000  # calls that an actor works on: some for each event loop, however many programs there are
_CLOSE_SECONDS = 10.0  # for an actor to end its guests itself, before its process is killed
_PAUSE_SECONDS = 10.0  # after a host that cannot start, before more are started beside those that run
_LOST_PAUSE_SECONDS = 1.0  # the same after one whose process was ended as it started: another may do better
_STARTS = 3  # in which all hosts were lost as they started, until a program is told that it can have none
_LINKS = itertools.count(1)
_CPU, _GPU, _MEMORY = "CPU", "GPU", "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """The plan of the hosts; see `RaySandbox`."""

    inner: str
    options: Mapping[str, Any]
    address: str | None
    most: int
    least: int
    resources: Mapping[str, float]
    runtime_env: Mapping[str, Any] | None
    start_seconds: float
    idle_seconds: float


@dataclass(eq=False)
class Host:
    """One actor.

    Attributes:
        opened: Resolves once it can run programs, and fails where it never will.
        busy: The messages that it works on.
        runs: The runs that have not ended.
        lost: True once it is gone, or was given up.
        died: True where its process ended as it started.
    """

    cluster: Cluster
    opened: "Future[Offer]" = field(default_factory=Future)
    busy: int = 0
    runs: int = 0
    idle_since: float = field(default_factory=time.monotonic)
    lost: bool = False
    died: bool = False
    actor: Any = None
    _exchanges: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Exchange]" = field(
        default_factory=weakref.WeakKeyDictionary
    )
    _lock: Any = field(default_factory=threading.RLock)  # a finalizer may count in the midst of counting

    @property
    def ready(self) -> bool:
        """True while it can run programs."""
        return not self.lost and self.opened.done() and not self.opened.cancelled() and not self.opened.exception()

    def count(self, *, busy: int = 0, runs: int = 0) -> None:
        """Note that messages or runs have come or gone."""
        with self._lock:
            self.busy += busy
            self.runs += runs
        self.idle_since = time.monotonic()

    @property
    def pid(self) -> int:
        """The actor's process, on its machine. Only of a host that has opened."""
        return self.opened.result().pid

    async def ask(self, name: str, *arguments: Any) -> Any:
        """Send the actor a message, see `HostActor.exchange`, and return its answer.

        Raises:
            HostLost: The actor, its machine or the way there is gone. What became of the message is unknown.
            SandboxError: The inner sandbox raised an error of its own.
        """
        loop = asyncio.get_running_loop()
        if (exchange := self._exchanges.get(loop)) is None:
            exchange = self._exchanges[loop] = Exchange(next(_LINKS), self._send, self._translate)
        self.count(busy=1)
        try:
            answer = await exchange.ask(name, *arguments)
        finally:
            self.count(busy=-1)
        if isinstance(answer, Fault):
            raise SandboxError(f"on the cluster: {answer.message}")
        return answer

    def _send(self, link: int, messages: list[Any]) -> Any:
        if (actor := self.actor) is None:
            raise HostLost("its machine or its process has ended")
        # Ray sends what takes more than 100 KB through its object store: the message then holds a reference.
        return actor.exchange.remote(link, messages).future()

    async def close(self) -> None:
        """End the actor's guests, then its process."""
        if (actor := self.actor) is not None and self.ready:
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await asyncio.wrap_future(actor.close.remote().future())
            except Exception as error:  # it is lost, or does not answer: its process is killed all the same
                self._translate(error)
        self.kill()

    def _translate(self, error: Exception) -> Exception:
        """Return what a failed call means: the error that the method raised, or the loss of the host."""
        from ray import exceptions

        if isinstance(error, HostLost):
            return error
        if isinstance(error, exceptions.RayError | ConnectionError):
            # One that does not answer for a moment may run programs on: what is given up must not go on by itself.
            self.kill()
            return HostLost(first_line(error))
        return error

    def kill(self) -> None:
        """End the actor's process, and with it its guests. Does not wait."""
        self.lost = True
        actor, self.actor = self.actor, None
        if actor is not None:
            self.cluster.submit(lambda: _kill(self.cluster, actor))


class Hosts:
    """The actors of one sandbox. Several event loops and threads may use them.

    Args:
        plan: What hosts are wanted.
    """

    def __init__(self, plan: HostPlan) -> None:
        self.plan = plan
        self.keys = itertools.count(1)
        self.capabilities: Capabilities | None = None
        self._lock = threading.RLock()  # what is done already calls back at once, in the thread that asks
        self._hosts: list[Host] = []
        self._cluster: Cluster | None = None
        self._waiting = 0
        self._pause_until = 0.0

    @property
    def ready(self) -> tuple[Host, ...]:
        """The hosts that can run programs now."""
        with self._lock:
            return tuple(host for host in self._hosts if host.ready)

    async def take(self) -> Host:
        """Return the host that has the least to do. Where programs wait, more are started beside.

        Raises:
            SandboxUnavailable: No host can be had.
        """
        deadline = time.monotonic() + self.plan.start_seconds
        died = 0
        while True:
            best, starting = self._choose()
            if best is not None:
                return best
            waits = [asyncio.wrap_future(_mirror(host.opened)) for host in starting]
            self._waiting += 1
            try:
                await asyncio.wait(
                    waits, timeout=max(deadline - time.monotonic(), 0), return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                self._waiting -= 1
                for wait in waits:
                    wait.cancel()
            ended = [host for host in starting if host.opened.done()]
            errors = [error for host in ended if (error := host.opened.exception()) is not None]
            if errors and len(errors) == len(starting):
                # No program has been sent to them, so that others can take their place.
                died += 1
                if died >= _STARTS or not all(host.died for host in starting):
                    raise errors[0]
            if not ended and time.monotonic() >= deadline:
                for host in starting:
                    self._drop(host)
                self._leave()
                raise self._full()

    def _choose(self) -> tuple[Host | None, list[Host]]:
        """Return the best host that is ready, if any, and those that are starting; start what is called for."""
        with self._lock:
            self._hosts = [host for host in self._hosts if not host.lost]
            ready = [host for host in self._hosts if host.ready]
            load = sum(host.busy for host in ready) + self._waiting + 1
            target = min(max(math.ceil(load / _WAITING), self.plan.least), self.plan.most)
            # A machine that cannot host would otherwise be tried again with every program.
            if ready and time.monotonic() < self._pause_until:
                target = 0
            while len(self._hosts) < target:
                self._start()
            return (
                min(ready, key=lambda host: (host.busy, host.runs), default=None),
                [host for host in self._hosts if not host.opened.done()],
            )

    def _start(self) -> None:
        if self._cluster is None:
            self._cluster = connect(self.plan.address)
            self._cluster.at_ticks.add(self)
        cluster = self._cluster
        host = Host(cluster)
        self._hosts.append(host)

        def connected(future: "Future[None]") -> None:
            if (error := future.exception()) is not None:
                self._cluster = None  # the next host connects anew
                self._fail(host, error if isinstance(error, SandboxUnavailable) else _unavailable(error))
            else:
                cluster.submit(lambda: self._create(host))

        cluster.connected.add_done_callback(connected)

    def _create(self, host: Host) -> None:
        """Make the actor, in the cluster's thread."""
        if host.lost:
            return
        if host.cluster.is_gone():
            self._fail(host, SandboxUnavailable(NAME, "its cluster is gone: nobody listens there any more", REMEDY))
            self._leave()
            return
        try:
            host.actor = self._actor(host.cluster)
            opened = host.actor.open.remote().future()
        except Exception as error:
            self._fail(host, _unavailable(error))
            return
        # Ray's client calls back in the thread by which it also sends: nothing can be sent from there.
        opened.add_done_callback(lambda future: host.cluster.submit(lambda: self._opened(host, future)))

    def _actor(self, cluster: Cluster) -> Any:
        import ray

        demands = dict(self.plan.resources)
        # Neither an actor nor a call is ever begun again by Ray: a program that has called a tool would call it again.
        options: dict[str, Any] = {
            "num_cpus": demands.pop(_CPU, 0),
            "num_gpus": demands.pop(_GPU, 0),
            "resources": {name: amount for name, amount in demands.items() if name != _MEMORY},
            "max_restarts": 0,
            "max_task_retries": 0,
            "max_concurrency": _PENDING,
            "scheduling_strategy": "SPREAD",
        }
        if _MEMORY in demands:
            options["memory"] = demands[_MEMORY]
        if self.plan.runtime_env is not None:
            options["runtime_env"] = dict(self.plan.runtime_env)
        # Ray tells a cluster of a class once, which takes until the cluster answers: never, where it is gone.
        if cluster.actor_class is None:
            cluster.actor_class = ray.remote(HostActor)
        return cluster.actor_class.options(**options).remote(self.plan.inner, dict(self.plan.options))

    def _opened(self, host: Host, future: "Future[Any]") -> None:
        """Take a host's offer, in the cluster's thread."""
        try:
            offer = future.result()
        except BaseException as error:
            host.died = _is_death(error)
            self._fail(host, _unavailable(error))
            return
        with self._lock:
            refusal = offer if isinstance(offer, Refusal) else self._judge(offer)
            if refusal is None and self.capabilities is None:
                # Nobody can revive a snapshot through the actor that made it.
                self.capabilities = dataclasses.replace(offer.capabilities, snapshots=False)
        if refusal is not None:
            self._fail(host, SandboxUnavailable(NAME, f"on the cluster, {refusal.reason}", refusal.remedy))
            return
        # Idle hosts are noticed too when they are lost, so that no program is sent to them.
        host.actor.watch.remote().future().add_done_callback(lambda _: host.kill())
        host.idle_since = time.monotonic()
        if not host.opened.done():
            host.opened.set_result(offer)

    def _judge(self, offer: Offer) -> Refusal | None:
        """Return why a host is not taken: programs were checked for what the first host offers, and no less will do."""
        if offer.version != package_version():
            reason = f"{offer.node} has codemode-sandboxes {offer.version}, and this process {package_version()}"
            return Refusal(reason, "Install the same version on all machines, or name it in runtime_env=")
        agreed, found = self.capabilities, offer.capabilities
        if agreed is None:
            return None
        gaps = {gap.name for gap in found.gaps} - {gap.name for gap in agreed.gaps}
        less = sorted({*(agreed.modules - found.modules), *(agreed.enforces - found.enforces), *gaps})
        if found.boundary != agreed.boundary or less:
            detail = ", ".join(less[:5]) or f"the boundary {found.boundary!r}"
            return Refusal(f"{offer.node} offers less than the first host: {detail}", "Make all machines alike")
        return None

    def _fail(self, host: Host, error: SandboxUnavailable) -> None:
        self._pause_until = time.monotonic() + (_LOST_PAUSE_SECONDS if host.died else _PAUSE_SECONDS)
        self._drop(host)
        if not host.opened.done():
            host.opened.set_exception(error)

    def _drop(self, host: Host) -> None:
        host.kill()
        with self._lock:
            if host in self._hosts:
                self._hosts.remove(host)

    def _full(self) -> SandboxUnavailable:
        resources = ", ".join(f"{amount:g} {name}" for name, amount in self.plan.resources.items()) or "no resources"
        reason = f"no host started within {self.plan.start_seconds:g} seconds: the cluster is full or does not answer"
        return SandboxUnavailable(NAME, reason, f"Each host takes {resources}: see `ray status`, or lower resources=")

    def _leave(self) -> None:
        """Close the connection where no host is left: the cluster may be gone, and the next host connects anew."""
        with self._lock:
            if self._hosts or self._cluster is None:
                return
            cluster, self._cluster = self._cluster, None
        release(cluster)

    def tick(self) -> None:
        """End one host that has been idle for long, where more than the least are there."""
        now = time.monotonic()
        with self._lock:
            if len(self._hosts) <= self.plan.least:
                return
            for host in self._hosts:
                if host.ready and not host.runs and not host.busy and now - host.idle_since > self.plan.idle_seconds:
                    self._hosts.remove(host)
                    break
            else:
                return
        host.kill()

    async def aclose(self) -> None:
        """End all hosts, and the connection where no other sandbox uses it."""
        with self._lock:
            hosts, self._hosts = self._hosts, []
            cluster, self._cluster = self._cluster, None
        if cluster is not None:
            await shielded(_close(hosts, cluster))

    def drop(self) -> None:
        """Do what `aclose` does, in a finalizer: without waiting."""
        hosts, self._hosts = self._hosts, []
        cluster, self._cluster = self._cluster, None
        for host in hosts:
            host.kill()
        if cluster is not None:
            release(cluster)


async def _close(hosts: list[Host], cluster: Cluster) -> None:
    await asyncio.gather(*[host.close() for host in hosts])
    if release(cluster):
        await asyncio.to_thread(cluster.join)


def _mirror(future: "Future[Any]") -> "Future[None]":
    """Return a future that resolves with another, and whose cancellation does not reach that one."""
    mirror: Future[None] = Future()

    def resolve(_: object) -> None:
        if mirror.set_running_or_notify_cancel():
            mirror.set_result(None)

    future.add_done_callback(resolve)
    return mirror


def _kill(cluster: Cluster, actor: Any) -> None:
    import ray

    if cluster.is_gone():  # and its actors end by themselves
        return
    try:
        ray.kill(actor)
    except Exception:  # the connection is gone, and the cluster ends the actors of a process that has left
        return


def _is_death(error: BaseException) -> bool:
    """Return whether an actor's process or machine ended, and not by an error of its own in its constructor."""
    from ray import exceptions

    return isinstance(error, exceptions.RayActorError) and not error.actor_init_failed


def _unavailable(error: BaseException) -> SandboxUnavailable:
    reason = f"a host did not start: {first_line(error)}"
    return SandboxUnavailable(NAME, reason, "Its machines need codemode-sandboxes with the inner sandbox's extra")


def first_line(error: BaseException) -> str:
    """Return an error's message in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
