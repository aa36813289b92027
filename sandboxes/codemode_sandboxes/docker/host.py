"""The Docker daemons of a sandbox: which of them starts the next guest, and the removal of all that was started.

Containers outlive a host that is killed. So each carries the name of the process that owns it, and every process that
uses a daemon removes the containers of owners that are gone.
"""

import contextlib
import logging
import os
import platform
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from codemode_sandboxes.docker.container import HEADROOM_BYTES, RunnerStart, container_config, runner_start
from codemode_sandboxes.docker.daemon import Attached, ContainerState, Daemon, DaemonFacts, DaemonProblem, ImageFacts

__all__ = ["OWNER_LABEL", "Guest", "GuestOptions", "Host", "Hosts", "current_owner", "is_alive"]

OWNER_LABEL = "codemode.sandbox.owner"
"""The label with the name of the process that owns a container."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_REAP_SECONDS = 60.0
# Whether an owner on another machine lives cannot be seen from here, so its containers go by age.
_FOREIGN_SECONDS = 24 * 3600.0
_STOPPED_FOREIGN_SECONDS = 3600.0
_SEND_SECONDS = 10.0
_THREADS_PER_DAEMON = 4

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestOptions:
    """The options that the guests of a sandbox start with.

    Attributes:
        image: The image's name.
        make_image: The command that makes or fetches the image.
        python: The interpreter in an image that was not made for guests.
        runtime: The daemon's runtime; None for the default one.
        cpus: Each guest's processor time, in processors.
    """

    image: str
    make_image: str
    python: str
    runtime: str | None
    cpus: float


@dataclass(frozen=True, slots=True)
class _Preparation:
    facts: DaemonFacts
    image: ImageFacts
    start: RunnerStart


class Guest:
    """A container that was started, and the connection to it. Belongs to no event loop yet."""

    def __init__(self, host: "Host", name: str, attached: Attached) -> None:
        self._host, self._name = host, name
        self.attached = attached

    @property
    def name(self) -> str:
        """The container's name."""
        return self._name

    @property
    def address(self) -> str:
        """The daemon's address."""
        return self._host.address

    def descriptor(self) -> int:
        """Return a duplicate of the connection's descriptor."""
        return os.dup(self.attached.socket.fileno())

    def kill_soon(self) -> None:
        """Kill the container, without waiting."""
        self._host.kill_soon(self._name)

    def state(self) -> "Future[ContainerState]":
        """Return the container's state."""
        return self._host.state(self._name)

    def discard(self) -> None:
        """Close the connection and remove the container, without waiting."""
        self.attached.close()
        self._host.remove_soon(self._name)


class Host:
    """One daemon: connected to when it is first needed, and again after a problem. Several threads use it.

    Args:
        address: The daemon's address.
        options: What guests are started with.
        executor: Runs the calls that end guests, apart from those that start them: these may take long.
    """

    def __init__(self, address: str, options: GuestOptions, executor: ThreadPoolExecutor) -> None:
        self.address = address
        self._options, self._executor = options, executor
        self._lock = threading.Lock()
        self._connection: Daemon | None = None
        self._preparation: _Preparation | None = None
        self._guests: set[str] = set()
        self._unremoved: set[str] = set()
        self._reaped_at = -_REAP_SECONDS
        self._failures = 0
        self.down_until = 0.0

    @property
    def load(self) -> int:
        """The number of its guests."""
        return len(self._guests)

    def facts(self) -> DaemonFacts:
        """Return what the daemon reports about itself.

        Raises:
            DaemonProblem: The daemon cannot be used.
        """
        return self._or_failed(lambda: self._prepare().facts)

    def start(self, memory_bytes: int) -> Guest:
        """Start a guest, and wait until it runs.

        Raises:
            DaemonProblem: It does not start. Nothing of it remains, and this host is tried last for a while.
        """
        guest = self._or_failed(lambda: self._start(memory_bytes))
        self._failures, self.down_until = 0, 0.0
        if self._unremoved or time.monotonic() - self._reaped_at > _REAP_SECONDS:
            self._reaped_at = time.monotonic()
            _submit(self._executor, self._reap)
        return guest

    def _or_failed(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except DaemonProblem:
            self.close()
            self.down_until = time.monotonic() + min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE)
            self._failures = min(self._failures + 1, 10)
            raise

    def _start(self, memory_bytes: int) -> Guest:
        preparation, daemon, options = self._prepare(), self._daemon(), self._options
        config = container_config(
            preparation.image,
            preparation.start,
            memory_bytes=memory_bytes + HEADROOM_BYTES,
            cpus=options.cpus,
            runtime=options.runtime,
            gvisor="runsc" in (options.runtime or preparation.facts.runtime),
            labels={OWNER_LABEL: current_owner()},
        )
        name = f"codemode-{uuid.uuid4().hex}"
        # Before the daemon is asked: where its answer is lost, the container may exist.
        self._guests.add(name)
        try:
            daemon.create(config, name)
            attached = daemon.attach(name)
            try:
                daemon.start(name)
                attached.socket.settimeout(_SEND_SECONDS)
                attached.socket.sendall(preparation.start.payload)
                attached.socket.setblocking(False)
            except BaseException:
                attached.close()
                raise
        except BaseException as error:
            self.remove_soon(name)
            if isinstance(error, OSError):
                raise DaemonProblem(f"{self.address} does not take the guest: {error}") from None
            if isinstance(error, DaemonProblem):
                raise self._explain(error) from None
            raise
        return Guest(self, name, attached)

    def _explain(self, problem: DaemonProblem) -> DaemonProblem:
        image = self._options.image
        if "executable file not found" in problem.reason or "no such file or directory" in problem.reason:
            reason = f"the image {image} has no {self._options.python}"
            return DaemonProblem(reason, "Give DockerSandbox(python=...) the path of the image's interpreter")
        if "exec format error" in problem.reason:
            reason = f"the image {image} is of another architecture than the machine of {self.address}"
            return DaemonProblem(reason, "Make or fetch it there")
        return problem

    def _daemon(self) -> Daemon:
        with self._lock:
            if self._connection is None:
                self._connection = Daemon(self.address)
            return self._connection

    def _prepare(self) -> _Preparation:
        daemon = self._daemon()
        with self._lock:
            if self._preparation is None:
                facts = daemon.facts()
                self._check(facts)
                image = self._image(daemon)
                self._preparation = _Preparation(facts, image, runner_start(image, self._options.python))
            return self._preparation

    def _check(self, facts: DaemonFacts) -> None:
        name = f"the Docker daemon at {self.address}"
        if missing := {"memory", "processes"} - facts.limits:
            remedy = (
                "Give it control groups; for a rootless one see docs.docker.com/go/rootless on cgroup v2 and systemd"
            )
            raise DaemonProblem(f"{name} cannot bound a container's {' and '.join(sorted(missing))}", remedy)
        runtime = self._options.runtime
        if runtime is not None and runtime not in facts.runtimes:
            remedy = "Name it in the daemon's daemon.json"
            if runtime == "runsc":
                remedy = "Install gVisor, then `sudo runsc install && sudo systemctl restart docker`"
            raise DaemonProblem(f"{name} has no runtime {runtime!r}; it has {', '.join(facts.runtimes)}", remedy)

    def _image(self, daemon: Daemon) -> ImageFacts:
        try:
            return daemon.image(self._options.image)
        except DaemonProblem as problem:
            if not problem.missing:
                raise
            reason = f"the image {self._options.image} is not on the Docker daemon at {self.address}"
            raise DaemonProblem(reason, f"Run `{self._options.make_image}`") from None

    def kill_soon(self, name: str) -> None:
        """Kill a guest, without waiting."""
        _submit(self._executor, lambda: self._try(lambda: self._daemon().kill(name)))

    def state(self, name: str) -> "Future[ContainerState]":
        """Return the state of a guest's container."""
        return self._executor.submit(lambda: self._daemon().state(name))

    def remove_soon(self, name: str) -> None:
        """Remove a guest, without waiting. Where the daemon fails to, it is asked again later."""
        _submit(self._executor, lambda: self._remove(name))

    def _remove(self, name: str) -> None:
        if self._try(lambda: self._daemon().remove(name)):
            self._unremoved.discard(name)
            self._guests.discard(name)
        else:
            self._unremoved.add(name)

    def _try(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except DaemonProblem as problem:
            _log.debug("%s", problem)
            return False
        return True

    def _reap(self) -> None:
        """Remove this process's containers whose removal failed, and those of processes that are gone."""
        for name in list(self._unremoved):
            self._remove(name)

        def reap() -> None:
            daemon = self._daemon()
            for entry in daemon.containers(OWNER_LABEL):
                alive = is_alive(entry.labels[OWNER_LABEL])
                longest = _FOREIGN_SECONDS if entry.running else _STOPPED_FOREIGN_SECONDS
                if alive is False or (alive is None and entry.age > longest):
                    _log.info("removing the container %s, which a process that is gone left", entry.id[:12])
                    daemon.remove(entry.id)

        self._try(reap)

    def remove_all(self) -> None:
        """Remove all guests, and wait for it."""
        for name in list(self._guests):
            self._remove(name)
            if name in self._unremoved:  # each further call would wait for the same timeout
                break

    def close(self) -> None:
        """Close the connections. The next call connects again."""
        with self._lock:
            connection, self._connection, self._preparation = self._connection, None, None
        if connection is not None:
            connection.close()


class Hosts:
    """All daemons of a sandbox, and the threads that call them.

    Args:
        addresses: The daemons' addresses.
        options: What guests are started with.
    """

    def __init__(self, addresses: Sequence[str], options: GuestOptions) -> None:
        threads = _THREADS_PER_DAEMON * len(addresses)
        self.most_starting = 2 * threads
        self._starts = ThreadPoolExecutor(threads, "codemode-docker-start")
        self._ends = ThreadPoolExecutor(threads, "codemode-docker-end")
        self._hosts = [Host(address, options, self._ends) for address in addresses]
        self._remedies: dict[str, str] = {}
        self._owner = os.getpid()
        # Also called when the interpreter exits: a sandbox that nobody closed leaves no containers.
        self._finalizer = weakref.finalize(self, _close, self._hosts, (self._starts, self._ends), self._owner)

    @property
    def alive(self) -> bool:
        """True while it can be used: it is not closed, and this process is no fork of the one that created it."""
        return self._finalizer.alive and self._owner == os.getpid()

    def facts(self) -> DaemonFacts:
        """Return what the first daemon that can be used reports about itself.

        Raises:
            DaemonProblem: None can be used.
        """
        return self._first(Host.facts)

    def start(self, memory_bytes: int) -> "Future[Guest]":
        """Start a guest on the daemon with the fewest guests; one that failed lately comes last.

        The future raises `DaemonProblem` where no daemon can be used.
        """
        return self._starts.submit(lambda: self._first(lambda host: host.start(memory_bytes)))

    def _first(self, work: Callable[[Host], T]) -> T:
        now = time.monotonic()
        problems: list[DaemonProblem] = []
        for host in sorted(self._hosts, key=lambda host: (max(host.down_until - now, 0.0), host.load)):
            try:
                return work(host)
            except DaemonProblem as problem:
                problems.append(problem)
        reason = "; ".join(problem.reason for problem in problems)
        self._remedies[reason] = "; ".join(dict.fromkeys(problem.remedy for problem in problems if problem.remedy))
        raise DaemonProblem(reason, self._remedies[reason])

    def remedy(self, reason: str) -> str:
        """Return the remedy of a `DaemonProblem` that `start` raised, by its reason."""
        return self._remedies.get(reason, "")

    def close(self) -> None:
        """Remove all guests, end the threads, and wait for both. May be called again."""
        self._finalizer()


def _close(hosts: list[Host], executors: tuple[ThreadPoolExecutor, ...], owner: int) -> None:
    if os.getpid() != owner:  # a fork: the guests are its parent's
        return
    for executor in executors:
        executor.shutdown()
    for host in hosts:
        host.remove_all()
        host.close()


def _submit(executor: ThreadPoolExecutor, work: Callable[[], object]) -> None:
    def run() -> None:
        try:
            work()
        except Exception:  # nobody waits for the future, so the log is the only place
            _log.exception("what was left of a guest may be there still")

    try:
        executor.submit(run)
    except RuntimeError:  # the interpreter exits, or this was closed
        run()


def current_owner() -> str:
    """Return a name for this process that no other process ever has, on any machine."""
    return f"{_namespace()}/{os.getpid()}/{_start_time(os.getpid())}"


def is_alive(owner: str) -> bool | None:
    """Return whether an owner's process lives; None where that cannot be seen from here."""
    namespace, _, start_time = owner.rpartition("/")
    namespace, _, pid = namespace.rpartition("/")
    if namespace != _namespace() or not pid.isdigit():
        return None
    if start_time:  # the number alone may by now be another process's
        return _start_time(int(pid)) == start_time
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True


def _namespace() -> str:
    """Return a name for this boot of the machine and this process's namespace of process numbers."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116 - of the namespace, not of the link
    return platform.node().replace("/", "-")


def _start_time(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; empty where there is none or the system does not say."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""
