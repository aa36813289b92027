"""Private names of other libraries; tests/sandboxes/test_compat.py tells when each can go."""

import contextlib
import importlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["close_failed_connections", "private_ray", "silence_ray", "take_socket"]


def close_failed_connections(api: Any) -> None:
    """Make a Docker SDK client close its connection to a unix socket when connecting fails.

    The SDK's own connection class leaves that socket open until it is garbage collected.

    Args:
        api: A `docker.APIClient`. A client that connects over TCP is left as it is.
    """
    from docker.transport import unixconn  # type: ignore[import-untyped]

    adapter = api.get_adapter(api.base_url)
    if not isinstance(adapter, unixconn.UnixHTTPAdapter):
        return

    class Connection(unixconn.UnixHTTPConnection):  # type: ignore[misc]
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self.sock.settimeout(self.timeout)
                self.sock.connect(self.unix_socket)
            except BaseException:
                self.sock.close()
                raise

    class Pool(unixconn.UnixHTTPConnectionPool):  # type: ignore[misc]
        def _new_conn(self) -> Connection:
            return Connection(self.base_url, self.socket_path, self.timeout)

    pool = Pool(api.base_url, adapter.socket_path, adapter.timeout, maxsize=adapter.max_pool_size)
    adapter.pools[api.base_url] = pool  # closed with the adapter
    adapter.get_connection = lambda url, proxies=None: pool


def take_socket(stream: Any) -> tuple[socket.socket, Callable[[], None]]:
    """Return the socket of a stream that the Docker SDK attached to a container, and what closes its HTTP response.

    Args:
        stream: The result of `docker.APIClient.attach_socket`. Over TLS that is the socket itself.
    """
    return getattr(stream, "_sock", stream), stream._response.close


def silence_ray() -> None:
    """Keep Ray from printing to this process's standard output what goes wrong on its cluster.

    `ray.init(log_to_driver=False)` leaves those messages on. They would stand between the lines of a JSON protocol.
    """
    import ray._private.worker as worker

    worker._worker_logs_enabled = False


_RAY_NEEDS = ("DOCKER_", "LC_", "LD_", "PYTHON", "RAY_", "XDG_")
_RAY_NEEDS_TOO = frozenset({"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV"})


@contextlib.contextmanager
def private_ray(*without: str) -> Iterator[None]:
    """Have a Ray that `ray.init` starts listen on the loopback interface alone, and inherit little of the environment.

    On Linux it listens on all interfaces, as other machines might join it, and its processes inherit what this one has.

    Args:
        without: Variables that it does not inherit, whatever they are.
    """
    constants: Any = importlib.import_module("ray._private.ray_constants")
    services: Any = importlib.import_module("ray._private.services")

    class Process(services.ConsolePopen):  # type: ignore[misc]
        def __init__(self, *arguments: Any, env: dict[str, str], **options: Any) -> None:
            inherited = {
                name: value
                for name, value in env.items()
                if (name in _RAY_NEEDS_TOO or name.startswith(_RAY_NEEDS)) and name not in without
            }
            super().__init__(*arguments, env=inherited, **options)

    before = constants.ENABLE_RAY_CLUSTER, services.ConsolePopen
    constants.ENABLE_RAY_CLUSTER, services.ConsolePopen = False, Process
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER, services.ConsolePopen = before
