"""This process's connection to a Ray cluster. Ray has one for a whole process, so all sandboxes share it."""

import atexit
import contextlib
import importlib.util
import logging
import os
import queue
import shutil
import socket
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from codemode_sandboxes.compat import private_ray, silence_ray
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.process.sandbox import require_linux

__all__ = ["NAME", "REMEDY", "Cluster", "connect", "prepare", "release", "require_ray"]

T = TypeVar("T")

NAME = "ray"
_CLIENT = "ray://"
_INSTALL = "Install it: pip install 'codemode-sandboxes[ray]'"
REMEDY = "Start a cluster with `ray start --head`, or name one that runs: RaySandbox(address=...), CODEMODE_RAY_ADDRESS"

# Ray reads them when its library is loaded. By the first one a process outlives a cluster that is gone: by default Ray
# ends the process a minute later. The others: no report to its makers, no warning about processors, and hosts of a Ray that
# is started here have the priority of this process: by default a busy machine leaves them hardly any time.
_RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"
_VARIABLES = {
    _RECONNECT: "1000000000",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",
}
_STORE_BYTES = 256 << 20  # values on their way; a cluster of one's own has what its operator gave it
_TICK_SECONDS = 1.0
_PROBE_SECONDS = 5.0
_SHUTDOWN_SECONDS = 30.0  # one of a cluster that is gone takes seven


class Cluster:
    """A connection, and the one thread that makes Ray's blocking calls.

    Args:
        address: As for `ray.init`; None for a Ray of this process's own, unless the process is connected already.
        before: The connection before this one, which may still be closing.
    """

    def __init__(self, address: str | None, before: "Cluster | None") -> None:
        self.address = address
        self.users = 0
        self.actor_class: Any = None
        self._gcs: tuple[str, int] | None = None
        self.connected: Future[None] = Future()
        self.at_ticks: weakref.WeakSet[Any] = weakref.WeakSet()
        self.process = os.getpid()
        self._before = before
        self._folder: str | None = None
        self._ours = False
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # Linux ends the processes of a Ray that was started here with the thread that started them: it has to stay.
        # A daemon, as Ray's calls never return where the cluster is gone.
        self._thread = threading.Thread(target=self._serve, name="codemode-ray", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T]) -> "Future[T]":
        """Have the thread do a job. May be called from a finalizer."""
        future: Future[T] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(job())
                except BaseException as error:
                    future.set_exception(error)

        self._jobs.put(work)
        return future

    def is_gone(self) -> bool:
        """Return whether nobody listens where the cluster's first process did: Ray's calls to it would never return."""
        if self._gcs is None:
            return False
        try:
            socket.create_connection(self._gcs, _PROBE_SECONDS).close()
        except OSError:
            return True
        return False

    def stop(self) -> None:
        """Close the connection, after all jobs that were submitted."""
        self._jobs.put(None)

    def join(self) -> bool:
        """Wait until the connection is closed, or for as long as that can take. Return whether it is closed."""
        self._thread.join(_SHUTDOWN_SECONDS)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        before, self._before = self._before, None
        try:
            if before is not None and not before.join():
                reason = "this process's connection to an earlier cluster, which is gone, does not close"
                raise SandboxUnavailable(NAME, reason, "Start the process anew")
            self._connect()
        except BaseException as error:
            self._clean()
            self.connected.set_exception(error)
            return
        self.connected.set_result(None)
        while True:
            try:
                if (job := self._jobs.get(timeout=_TICK_SECONDS)) is None:
                    break
            except queue.Empty:
                for each in list(self.at_ticks):
                    each.tick()
            else:
                job()
                del job
        self._disconnect()

    def _connect(self) -> None:
        prepare()
        ray: Any = importlib.import_module("ray")
        if ray.is_initialized():
            here = ray.get_runtime_context().gcs_address
            if self.address not in (None, "auto", here):
                reason = f"this process is connected to the cluster at {here}, and can be to one alone"
                raise SandboxUnavailable(NAME, reason, "Leave address= out, or call ray.shutdown() first")
            self._note_address(ray)
            return
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        surroundings: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if self.address is None:
            require_linux(NAME, seccomp=False)
            self._folder = tempfile.mkdtemp(prefix="cmray-")  # short: Ray puts sockets into it
            options |= {
                "address": "local",
                "include_dashboard": False,
                "object_store_memory": _STORE_BYTES,
                "_temp_dir": self._folder,
            }
            # Whoever reaches its ports can run code as this user. Its processes end soon when its first one is gone.
            surroundings = private_ray(_RECONNECT)
        else:
            options["address"] = self.address
        silence_ray()
        self._ours = True
        atexit.register(self._leave)  # before Ray's own, which leaves its folder
        logger = logging.getLogger("ray")
        level, hook = logger.level, sys.excepthook
        logger.setLevel(logging.ERROR)  # it warns of what is meant, such as a thread that handles no signals
        try:
            with surroundings:
                ray.init(**options)
        except Exception as error:  # it raises errors of many types, RuntimeError and ConnectionError among them
            ray.shutdown()  # it may have started half of a Ray
            where = f"at {self.address}" if self.address else "of this process's own"
            lines = [line.strip() for line in str(error).splitlines() if line.strip()][:2] or [repr(error)]
            reason = f"no Ray cluster {where} answers: {' '.join(lines)}"
            raise SandboxUnavailable(NAME, reason, REMEDY) from error
        finally:
            logger.setLevel(level)
            sys.excepthook = hook  # Ray's tells the cluster of the error first, and waits for a cluster that is gone
        self._note_address(ray)

    def _note_address(self, ray: Any) -> None:
        if not ray.util.client.ray.is_connected():  # whose calls end where the cluster does
            host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
            self._gcs = host.strip("[]"), int(port)

    def _leave(self) -> None:
        self.stop()
        self.join()

    def _disconnect(self) -> None:
        if self._ours:
            importlib.import_module("ray").shutdown()
        self._clean()

    def _clean(self) -> None:
        atexit.unregister(self._leave)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def require_ray(address: str | None) -> None:
    """Check that what an address needs is installed, without importing it: that takes seconds.

    Raises:
        SandboxUnavailable: It is not.
    """
    for package in ("ray", *(["grpc"] if (address or "").startswith(_CLIENT) else [])):
        if importlib.util.find_spec(package) is None:
            raise SandboxUnavailable(NAME, f"the package {package} is not installed", _INSTALL)


def prepare() -> None:
    """Set what Ray reads from the environment when it is first imported, unless the user has set it."""
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)


_lock = threading.Lock()
_current: Cluster | None = None
_last: Cluster | None = None


def connect(address: str | None) -> Cluster:
    """Return this process's connection, which may not be there yet: see `Cluster.connected`. Call `release` in the end.

    Raises:
        SandboxUnavailable: Sandboxes of this process use another cluster.
    """
    global _current, _last
    with _lock:
        broken = _current is not None and _current.connected.done() and _current.connected.exception() is not None
        if _current is None or broken or _current.process != os.getpid():
            _current = _last = Cluster(address, _last)
        elif _current.address != address:
            reason = f"another sandbox of this process uses the cluster {_current.address or 'of its own'}"
            raise SandboxUnavailable(NAME, reason, "Close that sandbox, or use the same address")
        _current.users += 1
        return _current


def release(cluster: Cluster) -> bool:
    """Leave a connection to its other users. Return whether there is none, so that it closes."""
    global _current
    with _lock:
        cluster.users -= 1
        if cluster.users:
            return False
        if _current is cluster:
            _current = None
        cluster.stop()
        return True
