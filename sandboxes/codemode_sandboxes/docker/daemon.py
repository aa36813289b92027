"""A Docker daemon, as this package needs it. Its calls wait, so they are made in threads; only this file knows the SDK."""

import contextlib
import importlib
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

from codemode_sandboxes.docker.facts import DaemonFacts, DaemonProblem, Found, ImageFacts, State
from codemode_sandboxes.errors import SandboxUnavailable

__all__ = ["Attached", "Daemon", "default_address"]

_CONNECT_SECONDS = 5
_CALL_SECONDS = 15
_CONNECTIONS = 16
_CONFLICT = 409
_ANY_VERSION = "1.41"  # with which a daemon is asked for its own
_TLS = "Set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the folder that holds its ca.pem, cert.pem and key.pem"
_INSTALL = "Install it: pip install 'codemode-sandboxes[docker]'"


@dataclass(frozen=True, slots=True)
class Attached:
    """A connection to a container's standard streams, and what frees it."""

    socket: socket.socket
    close: Callable[[], None]


def default_address() -> str:
    """The daemon that the environment names, else this machine's own."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


class Daemon:
    """A connection to a daemon. May be used from several threads.

    Args:
        address: As in DOCKER_HOST: "unix:///path" or "tcp://host:port". TLS is as the environment says
            (DOCKER_TLS_VERIFY, DOCKER_CERT_PATH).

    Raises:
        DaemonProblem: It does not answer.
        SandboxUnavailable: The SDK is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        try:
            sdk: Any = importlib.import_module("docker")
            self._errors: Any = importlib.import_module("docker.errors")
            closing: Any = importlib.import_module("codemode_sandboxes.docker.unix")
        except ImportError:
            raise SandboxUnavailable("docker", "the package docker is not installed", _INSTALL) from None
        if address.startswith("ssh://"):
            host = address.removeprefix("ssh://").rstrip("/")
            forward = f"ssh -N -L /tmp/docker.sock:/var/run/docker.sock {host}"
            raise DaemonProblem(
                f"{address} is not a kind of address that is used here",
                f"Forward its socket, `{forward}`, and name unix:///tmp/docker.sock",
            )
        with self._telling():
            environment = {**os.environ, "DOCKER_HOST": address}
            arguments = {"base_url": address, **sdk.utils.kwargs_from_env(environment=environment)}

            def client(version: str, seconds: int) -> Any:
                api = sdk.APIClient(**arguments, version=version, timeout=seconds, max_pool_size=_CONNECTIONS)
                closing.use_closing_connections(api)
                api.trust_env = False  # or what verifies web sites would verify it, and a proxy stand before it
                api.headers["Connection"] = "close"  # none is kept; one to a socket costs little
                return api

            asked = client(_ANY_VERSION, _CONNECT_SECONDS)
            try:
                version = asked.version(api_version=False)["ApiVersion"]
            finally:
                asked.close()
            self._api = client(version, _CALL_SECONDS)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn what the SDK raises into problems that say what to do."""
        try:
            yield
        except self._errors.NotFound as error:
            raise DaemonProblem(f"{self.address} says: {_said(error)}", missing=True) from None
        except self._errors.APIError as error:
            said = _said(error)
            raise DaemonProblem(f"{self.address} says: {said}", _TLS if "HTTPS server" in said else "") from None
        except self._errors.TLSParameterError:
            raise DaemonProblem(f"the certificates for {self.address} are not there", _TLS) from None
        except OSError as error:
            raise self._unreachable(error) from None
        except self._errors.DockerException as error:
            remedy = "Name another with DOCKER_HOST, such as unix:///var/run/docker.sock"
            raise DaemonProblem(f"the address {self.address} cannot be used: {error}", remedy) from None

    def _unreachable(self, error: BaseException) -> DaemonProblem:
        told = str(error)
        if "PermissionError" in told or "Permission denied" in told:
            remedy = "Run `sudo usermod -aG docker $USER` and log in again, or name another daemon with DOCKER_HOST"
            return DaemonProblem(f"this user may not use the Docker daemon at {self.address}", remedy)
        if any(part in told for part in ("timed out", "TimeoutError", "Read timed out")):
            return DaemonProblem(f"the Docker daemon at {self.address} does not answer in time", "Look after it")
        if "SSL" in told:
            return DaemonProblem(f"the Docker daemon at {self.address} does not show the certificate expected", _TLS)
        remedy = "Start it, such as with `sudo systemctl start docker`, or name another with DOCKER_HOST"
        return DaemonProblem(f"no Docker daemon answers at {self.address}", remedy)

    def facts(self) -> DaemonFacts:
        """Ask it about itself.

        Raises:
            DaemonProblem: It does not answer, or runs containers of another system.
        """
        with self._telling():
            told = self._api.info()
        if told.get("OSType") != "linux":
            raise DaemonProblem(f"the containers of {self.address} are not Linux's", "Name another with DOCKER_HOST")
        options = [
            dict(part.partition("=")[::2] for part in option.split(",")) for option in told.get("SecurityOptions") or ()
        ]
        return DaemonFacts(
            limits=frozenset(
                name for name, key in (("memory", "MemoryLimit"), ("processes", "PidsLimit")) if told.get(key)
            ),
            runtimes=tuple(sorted(told.get("Runtimes") or ())),
            runtime=str(told.get("DefaultRuntime")),
            cgroup=str(told.get("CgroupVersion") or "1"),
            security=tuple(
                option["name"] for option in options if "name" in option and option.get("profile") != "unconfined"
            ),
        )

    def image(self, name: str) -> ImageFacts:
        """Look at an image.

        Raises:
            DaemonProblem: It is not there, which `missing` tells, or the daemon does not answer.
        """
        with self._telling():
            told = self._api.inspect_image(name)
        config = told.get("Config") or {}
        return ImageFacts(
            id=told["Id"],
            labels=config.get("Labels") or {},
            variables=tuple(variable.partition("=")[0] for variable in config.get("Env") or ()),
            volumes=tuple(config.get("Volumes") or ()),
        )

    def add_image(self, tar: IO[bytes], repository: str, tag: str, changes: list[str]) -> str:
        """Make an image of a file system. The one that had its name is removed, unless it is in use.

        Args:
            tar: The file system.
            repository: The image's name.
            tag: The part of it after the colon.
            changes: Lines of a Dockerfile.

        Returns:
            Its id.
        """
        name = f"{repository}:{tag}"
        with self._telling():
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
        with self._telling():
            self._api.create_container_from_config(config, name)

    def attach(self, name: str) -> Attached:
        """Connect to its standard streams, before it starts: nothing it says is lost."""
        with self._telling():
            told = self._api.attach_socket(name, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        connection: socket.socket = getattr(told, "_sock", told)
        if connection.family != socket.AF_UNIX:  # else nothing would ever tell that the other machine is gone
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if isinstance(connection, ssl.SSLSocket):
            secured = connection

            def close() -> None:
                secured.close()
                told._response.close()

            return Attached(secured, close)
        own = connection.dup()  # the SDK's ends with its response
        told._response.close()
        return Attached(own, own.close)

    def start(self, name: str) -> None:
        """Start it."""
        with self._telling():
            self._api.start(name)

    def state(self, name: str) -> State:
        """Look at it."""
        with self._telling():
            told = self._api.inspect_container(name)["State"]
        return State(running=bool(told["Running"]), status=int(told["ExitCode"]), out_of_memory=bool(told["OOMKilled"]))

    def kill(self, name: str) -> None:
        """End it at once."""
        with self._telling():
            self._api.kill(name, "SIGKILL")

    def remove(self, name: str) -> None:
        """Remove it, ended first where it runs. That it is gone, or going, is no problem."""
        with self._telling():
            try:
                self._api.remove_container(name, v=True, force=True)
            except self._errors.NotFound:
                pass
            except self._errors.APIError as error:
                if error.status_code != _CONFLICT:
                    raise

    def containers(self, label: str) -> list[Found]:
        """Find all containers that have this label."""
        with self._telling():
            told = self._api.containers(all=True, filters={"label": label})
            if not told:
                return []
            now = datetime.fromisoformat(self._api.info()["SystemTime"]).timestamp()
        return [
            Found(
                id=one["Id"],
                labels=one.get("Labels") or {},
                running=one.get("State") == "running",
                age=now - one["Created"],
            )
            for one in told
        ]

    def close(self) -> None:
        """Close its connections."""
        self._api.close()


def _said(error: Any) -> str:
    return " ".join(str(error.explanation or error).split())
