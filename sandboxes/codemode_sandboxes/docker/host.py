"""One Docker daemon of a sandbox: what is started there, and that all of it is removed."""

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from codemode_sandboxes.docker.container import HEADROOM_BYTES, container_config
from codemode_sandboxes.docker.daemon import Attached, Daemon
from codemode_sandboxes.docker.delivery import Delivery, deliver
from codemode_sandboxes.docker.facts import DaemonFacts, DaemonProblem, ImageFacts, State
from codemode_sandboxes.docker.owner import LABEL, lives, owner

__all__ = ["Guest", "Host", "Wanted"]

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_REAP_SECONDS = 60.0
_STRANGERS_SECONDS = 24 * 3600.0
_STOPPED_STRANGERS_SECONDS = 3600.0
_SEND_SECONDS = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What guests are to be.

    Attributes:
        image: The image's name.
        make_image: The command that makes it or fetches it.
        python: The interpreter in it, where it was not made for guests.
        runtime: The daemon's runtime; None for its own choice.
        cpus: Processors' worth of time.
    """

    image: str
    make_image: str
    python: str
    runtime: str | None
    cpus: float


@dataclass(frozen=True, slots=True)
class _Ready:
    facts: DaemonFacts
    image: ImageFacts
    delivery: Delivery


class Guest:
    """A container that was started, and the connection to it. Belongs to no event loop yet."""

    def __init__(self, host: "Host", name: str, attached: Attached) -> None:
        self._host, self._name = host, name
        self.attached = attached

    @property
    def name(self) -> str:
        """The container's."""
        return self._name

    @property
    def address(self) -> str:
        """The daemon's."""
        return self._host.address

    def descriptor(self) -> int:
        """Give a copy of the connection's descriptor."""
        return os.dup(self.attached.socket.fileno())

    def kill_soon(self) -> None:
        """End it; does not wait."""
        self._host.kill_soon(self._name)

    def state(self) -> "Future[State]":
        """Look at it."""
        return self._host.state(self._name)

    def discard(self) -> None:
        """Close the connection, and remove the container; does not wait."""
        self.attached.close()
        self._host.remove_soon(self._name)


class Host:
    """One daemon. Connected to when it is first needed, and again after a problem. Used from several threads.

    Args:
        address: Its address.
        wanted: What guests are to be.
        ends: Runs what ends guests.
    """

    def __init__(self, address: str, wanted: Wanted, ends: ThreadPoolExecutor) -> None:
        self.address = address
        self._wanted, self._ends = wanted, ends
        self._lock = threading.Lock()
        self._connection: Daemon | None = None
        self._ready: _Ready | None = None
        self._guests: set[str] = set()
        self._unremoved: set[str] = set()
        self._reaped_at = -_REAP_SECONDS
        self._failures = 0
        self.down_until = 0.0

    @property
    def load(self) -> int:
        """Guests that are there."""
        return len(self._guests)

    @property
    def facts(self) -> DaemonFacts:
        """What its daemon says of itself.

        Raises:
            DaemonProblem: It is no use; its message says why.
        """
        try:
            return self._prepare().facts
        except DaemonProblem:
            self._failed()
            raise

    def start(self, memory_bytes: int) -> Guest:
        """Start a guest. Waits.

        Raises:
            DaemonProblem: It does not start. Nothing is left of it, and this host is not asked for a while.
        """
        try:
            guest = self._start(memory_bytes)
        except DaemonProblem:
            self._failed()
            raise
        self._failures, self.down_until = 0, 0.0
        if self._unremoved or time.monotonic() - self._reaped_at > _REAP_SECONDS:
            self._reaped_at = time.monotonic()
            _soon(self._ends, self._reap)
        return guest

    def _start(self, memory_bytes: int) -> Guest:
        ready, daemon, wanted = self._prepare(), self._daemon(), self._wanted
        config = container_config(
            ready.image,
            ready.delivery.command,
            ready.delivery.environment,
            memory_bytes=memory_bytes + HEADROOM_BYTES,
            cpus=wanted.cpus,
            runtime=wanted.runtime,
            gvisor="runsc" in (wanted.runtime or ready.facts.runtime),
            labels={LABEL: owner()},
        )
        name = f"codemode-{uuid.uuid4().hex}"
        self._guests.add(name)
        try:
            daemon.create(config, name)
            attached = daemon.attach(name)
            try:
                daemon.start(name)
                attached.socket.settimeout(_SEND_SECONDS)
                attached.socket.sendall(ready.delivery.payload)
                attached.socket.setblocking(False)
            except BaseException:
                attached.close()
                raise
        except BaseException as error:
            self.remove_soon(name)
            if isinstance(error, OSError):
                raise DaemonProblem(f"{self.address} does not take the guest: {error}") from None
            if isinstance(error, DaemonProblem):
                raise self._not_started(error) from None
            raise
        return Guest(self, name, attached)

    def _not_started(self, problem: DaemonProblem) -> DaemonProblem:
        wanted = self._wanted
        if "executable file not found" in problem.reason or "no such file or directory" in problem.reason:
            told = f"the image {wanted.image} has no {wanted.python}"
            return DaemonProblem(told, "Give DockerSandbox(python=...) the path of the image's interpreter")
        if "exec format error" in problem.reason:
            told = f"the image {wanted.image} is of another architecture than the machine of {self.address}"
            return DaemonProblem(told, "Make or fetch it there")
        return problem

    def _daemon(self) -> Daemon:
        with self._lock:
            if self._connection is None:
                self._connection = Daemon(self.address)
            return self._connection

    def _prepare(self) -> _Ready:
        daemon = self._daemon()
        with self._lock:
            if self._ready is None:
                facts = daemon.facts()
                self._check(facts)
                image = self._image(daemon)
                self._ready = _Ready(facts, image, deliver(image, self._wanted.python))
            return self._ready

    def _check(self, facts: DaemonFacts) -> None:
        if missing := {"memory", "processes"} - facts.limits:
            what = " and ".join(sorted(missing))
            remedy = (
                "Give it control groups; for a rootless one see docs.docker.com/go/rootless on cgroup v2 and systemd"
            )
            raise DaemonProblem(f"the Docker daemon at {self.address} cannot bound a container's {what}", remedy)
        runtime = self._wanted.runtime
        if runtime is not None and runtime not in facts.runtimes:
            told = f"the Docker daemon at {self.address} has no runtime {runtime!r}; it has {', '.join(facts.runtimes)}"
            install = "sudo runsc install && sudo systemctl restart docker" if runtime == "runsc" else ""
            remedy = f"Install gVisor, then `{install}`" if install else "Name it in the daemon's daemon.json"
            raise DaemonProblem(told, remedy)

    def _image(self, daemon: Daemon) -> ImageFacts:
        wanted = self._wanted
        try:
            return daemon.image(wanted.image)
        except DaemonProblem as problem:
            if not problem.missing:
                raise
            told = f"the image {wanted.image} is not on the Docker daemon at {self.address}"
            raise DaemonProblem(told, f"Run `{wanted.make_image}`") from None

    def _failed(self) -> None:
        self.close()
        self.down_until = time.monotonic() + min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 10)

    def kill_soon(self, name: str) -> None:
        """End a guest; does not wait."""
        _soon(self._ends, lambda: self._quietly(lambda: self._daemon().kill(name)))

    def state(self, name: str) -> "Future[State]":
        """Look at a guest."""
        return self._ends.submit(lambda: self._daemon().state(name))

    def remove_soon(self, name: str) -> None:
        """Remove a guest; does not wait. Where the daemon does not do it, it is asked again later."""
        _soon(self._ends, lambda: self._remove(name))

    def _remove(self, name: str) -> None:
        if self._quietly(lambda: self._daemon().remove(name)):
            self._unremoved.discard(name)
            self._guests.discard(name)
        else:
            self._unremoved.add(name)

    def _quietly(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except DaemonProblem as problem:
            _log.debug("%s", problem)
            return False
        return True

    def _reap(self) -> None:
        """Remove what is left of processes that are gone, of this one's too."""
        for name in list(self._unremoved):
            self._remove(name)

        def reap() -> None:
            daemon = self._daemon()
            for found in daemon.containers(LABEL):
                alive = lives(found.labels[LABEL])
                stranger = _STRANGERS_SECONDS if found.running else _STOPPED_STRANGERS_SECONDS
                if alive is False or (alive is None and found.age > stranger):
                    _log.info("removing the container %s, which a process that is gone left", found.id[:12])
                    daemon.remove(found.id)

        self._quietly(reap)

    def remove_all(self) -> None:
        """Remove all that is left here. Waits."""
        for name in list(self._guests):
            self._remove(name)
            if name in self._unremoved:  # nor will it the others
                break

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            connection, self._connection, self._ready = self._connection, None, None
        if connection is not None:
            connection.close()


def _soon(executor: ThreadPoolExecutor, work: Callable[[], object]) -> None:
    def told() -> None:
        try:
            work()
        except Exception:
            _log.exception("what was left of a guest may be there still")

    try:
        executor.submit(told)
    except RuntimeError:  # the interpreter ends, or this was closed
        told()
