"""One Docker daemon: its calls, what it reports, and errors that name the fix.

Its calls block, so callers make them in threads. This is the only module that imports the Docker SDK.
"""

import contextlib
import importlib
import os
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

from codemode_sandboxes.compat import close_failed_connections, take_socket
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.process.pool import StartFailed

__all__ = [
    "Attached",
    "ContainerEntry",
    "ContainerState",
    "Daemon",
    "DaemonFacts",
    "DaemonProblem",
    "ImageFacts",
    "default_address",
]

_CONNECT_SECONDS = 5
_CALL_SECONDS = 15
_CONNECTIONS = 16
_CONFLICT = 409
# A daemon that does not know the requested API version refuses the call, so its version is asked for with an old one.
_FIRST_API_VERSION = "1.41"
_TLS = "Set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the folder that holds its ca.pem, cert.pem and key.pem"
_INSTALL = "Install it: pip install 'codemode-sandboxes[docker]'"


class DaemonProblem(StartFailed):
    """A daemon that refuses or fails a request.

    Args:
        reason: What is wrong, in one line.
        remedy: The command or step that fixes it, or an empty string.
        missing: Whether the object that the request names does not exist.
    """

    def __init__(self, reason: str, remedy: str = "", *, missing: bool = False) -> None:
        self.reason, self.remedy, self.missing = reason, remedy, missing
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """A daemon's report about itself.

    Attributes:
        limits: Those of "memory" and "processes" that it can bound.
        runtimes: The names of its runtimes.
        runtime: Its default runtime.
        cgroup: The version of its control groups.
        security: The names of its security options that are active, such as "seccomp" and "apparmor".
    """

    limits: frozenset[str]
    runtimes: tuple[str, ...]
    runtime: str
    cgroup: str
    security: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """An image on a daemon: its id, its labels, the names of its environment variables, and its volumes."""

    id: str
    labels: Mapping[str, str]
    variables: tuple[str, ...]
    volumes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """A container's state: `status` is its exit status as a shell reports it, once it no longer runs."""

    running: bool
    status: int
    out_of_memory: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEntry:
    """A container in a daemon's list; `age` is in seconds, by the daemon's clock."""

    id: str
    labels: Mapping[str, str]
    running: bool
    age: float


@dataclass(frozen=True, slots=True)
class Attached:
    """A connection to a container's standard streams, and the function that closes it."""

    socket: socket.socket
    close: Callable[[], None]


def default_address() -> str:
    """Return the address that DOCKER_HOST names, or that of this machine's daemon."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


class Daemon:
    """A client of one daemon. Several threads may use it; each method raises `DaemonProblem` on failure.

    Args:
        address: As in DOCKER_HOST: "unix:///path" or "tcp://host:port". DOCKER_TLS_VERIFY and DOCKER_CERT_PATH
            configure TLS.

    Raises:
        DaemonProblem: The daemon does not answer.
        SandboxUnavailable: The Docker SDK is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        try:
            sdk: Any = importlib.import_module("docker")
            self._errors: Any = importlib.import_module("docker.errors")
        except ImportError:
            raise SandboxUnavailable("docker", "the package docker is not installed", _INSTALL) from None
        if sys.platform == "win32" or not hasattr(socket, "AF_UNIX"):
            # Its event loop watches no descriptors, and its daemon's pipe is no socket.
            raise SandboxUnavailable("docker", "it does not run on Windows", "Run the host in WSL, or use 'monty'")
        if address.startswith("ssh://"):  # its streams are no sockets, which guests need
            host = address.removeprefix("ssh://").rstrip("/")
            forward = f"ssh -N -L /tmp/docker.sock:/var/run/docker.sock {host}"
            raise DaemonProblem(
                f"{address} is not a kind of address that is supported",
                f"Forward its socket, `{forward}`, and name unix:///tmp/docker.sock",
            )
        with self._translate_errors():
            environment = {**os.environ, "DOCKER_HOST": address}
            arguments = {"base_url": address, **sdk.utils.kwargs_from_env(environment=environment)}

            def client(version: str, seconds: int) -> Any:
                api = sdk.APIClient(**arguments, version=version, timeout=seconds, max_pool_size=_CONNECTIONS)
                close_failed_connections(api)
                # Otherwise REQUESTS_CA_BUNDLE would replace the daemon's own CA, and a web proxy would get the calls.
                api.trust_env = False
                # An idle connection would hold a descriptor for as long as the sandbox; a new one costs little.
                api.headers["Connection"] = "close"
                return api

            first = client(_FIRST_API_VERSION, _CONNECT_SECONDS)
            try:
                version = first.version(api_version=False)["ApiVersion"]
            finally:
                first.close()
            self._api = client(version, _CALL_SECONDS)

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turn the SDK's exceptions into `DaemonProblem`s that name the fix."""
        try:
            yield
        except self._errors.NotFound as error:
            raise DaemonProblem(f"{self.address} says: {_message(error)}", missing=True) from None
        except self._errors.APIError as error:
            message = _message(error)
            raise DaemonProblem(f"{self.address} says: {message}", _TLS if "HTTPS server" in message else "") from None
        except self._errors.TLSParameterError:
            raise DaemonProblem(f"the certificates for {self.address} are not there", _TLS) from None
        except OSError as error:
            raise self._unreachable(error) from error
        except self._errors.DockerException as error:
            remedy = "Name another with DOCKER_HOST, such as unix:///var/run/docker.sock"
            raise DaemonProblem(f"the address {self.address} cannot be used: {error}", remedy) from None

    def _unreachable(self, error: BaseException) -> DaemonProblem:
        # requests wraps the cause in exceptions of its own; only the text tells the causes apart.
        message = str(error)
        if "PermissionError" in message or "Permission denied" in message:
            remedy = "Run `sudo usermod -aG docker $USER` and log in again, or name another daemon with DOCKER_HOST"
            return DaemonProblem(f"this user may not use the Docker daemon at {self.address}", remedy)
        if "timed out" in message or "TimeoutError" in message:
            return DaemonProblem(f"the Docker daemon at {self.address} does not answer in time", "Look after it")
        if "SSL" in message:
            return DaemonProblem(f"the Docker daemon at {self.address} does not show the certificate expected", _TLS)
        remedy = "Start it, such as with `sudo systemctl start docker`, or name another with DOCKER_HOST"
        return DaemonProblem(f"no Docker daemon answers at {self.address}", remedy)

    def facts(self) -> DaemonFacts:
        """Return what the daemon reports about itself.

        Raises:
            DaemonProblem: It does not answer, or its containers are not Linux containers.
        """
        with self._translate_errors():
            info = self._api.info()
        if info.get("OSType") != "linux":
            raise DaemonProblem(f"the containers of {self.address} are not Linux's", "Name another with DOCKER_HOST")
        # Each option is text such as "name=seccomp,profile=builtin".
        texts = info.get("SecurityOptions") or ()
        options = [dict(part.partition("=")[::2] for part in text.split(",")) for text in texts]
        limits = {"memory": "MemoryLimit", "processes": "PidsLimit"}
        return DaemonFacts(
            limits=frozenset(name for name, key in limits.items() if info.get(key)),
            runtimes=tuple(sorted(info.get("Runtimes") or ())),
            runtime=str(info.get("DefaultRuntime")),
            cgroup=str(info.get("CgroupVersion") or "1"),
            security=tuple(
                option["name"] for option in options if "name" in option and option.get("profile") != "unconfined"
            ),
        )

    def image(self, name: str) -> ImageFacts:
        """Return the facts of an image.

        Raises:
            DaemonProblem: There is no such image (`missing` is true), or the daemon does not answer.
        """
        with self._translate_errors():
            image = self._api.inspect_image(name)
        config = image.get("Config") or {}
        return ImageFacts(
            id=image["Id"],
            labels=config.get("Labels") or {},
            variables=tuple(variable.partition("=")[0] for variable in config.get("Env") or ()),
            volumes=tuple(config.get("Volumes") or ()),
        )

    def add_image(self, tar: IO[bytes], repository: str, tag: str, changes: list[str]) -> str:
        """Make an image of a file system, and remove the image that had its name unless that is in use.

        Args:
            tar: The file system, as a tar archive.
            repository: The image's name before the colon.
            tag: The image's name after the colon.
            changes: Lines of a Dockerfile.

        Returns:
            The id of the new image.
        """
        name = f"{repository}:{tag}"
        with self._translate_errors():
            before = [image["Id"] for image in self._api.images(name)]
            self._api.import_image_from_data(tar, repository=repository, tag=tag, changes=changes)
            id = str(self._api.inspect_image(name)["Id"])
            for old in before:
                if old != id:
                    with contextlib.suppress(self._errors.APIError):
                        self._api.remove_image(old)
            return id

    def create(self, config: Mapping[str, Any], name: str) -> None:
        """Make a container of this name."""
        with self._translate_errors():
            self._api.create_container_from_config(config, name)

    def attach(self, name: str) -> Attached:
        """Connect to the standard streams of a container that has not started, so that no output is lost."""
        with self._translate_errors():
            stream = self._api.attach_socket(name, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        connection, close_response = take_socket(stream)
        if connection.family != socket.AF_UNIX:  # without probes, a machine that is gone would look like a silent guest
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if isinstance(connection, ssl.SSLSocket):  # the state of its cipher cannot be duplicated

            def close() -> None:
                connection.close()
                close_response()

            return Attached(connection, close)
        own = connection.dup()  # the SDK closes its own socket with the response
        close_response()
        return Attached(own, own.close)

    def start(self, name: str) -> None:
        """Start a container."""
        with self._translate_errors():
            self._api.start(name)

    def state(self, name: str) -> ContainerState:
        """Return the state of a container."""
        with self._translate_errors():
            state = self._api.inspect_container(name)["State"]
        return ContainerState(
            running=bool(state["Running"]), status=int(state["ExitCode"]), out_of_memory=bool(state["OOMKilled"])
        )

    def kill(self, name: str) -> None:
        """Kill a container."""
        with self._translate_errors():
            self._api.kill(name, "SIGKILL")

    def remove(self, name: str) -> None:
        """Remove a container, and kill it first where it runs. One that does not exist is no error."""
        with self._translate_errors():
            try:
                self._api.remove_container(name, v=True, force=True)
            except self._errors.NotFound:
                pass
            except self._errors.APIError as error:
                if error.status_code != _CONFLICT:  # another removal of it is under way
                    raise

    def containers(self, label: str) -> list[ContainerEntry]:
        """Return all containers that have this label."""
        with self._translate_errors():
            entries = self._api.containers(all=True, filters={"label": label})
            if not entries:
                return []
            now = datetime.fromisoformat(self._api.info()["SystemTime"]).timestamp()
        return [
            ContainerEntry(
                id=entry["Id"],
                labels=entry.get("Labels") or {},
                running=entry.get("State") == "running",
                age=now - entry["Created"],
            )
            for entry in entries
        ]

    def close(self) -> None:
        """Close the daemon's connections."""
        self._api.close()


def _message(error: Any) -> str:
    return " ".join(str(error.explanation or error).split())
