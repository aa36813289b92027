"""The sandbox `docker`: programs in containers."""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import closing

from codemode_sandboxes.contract import Capabilities
from codemode_sandboxes.docker.build_image import build_command, image_tag
from codemode_sandboxes.docker.daemon import DaemonProblem, default_address
from codemode_sandboxes.docker.guest import ContainerStarter
from codemode_sandboxes.docker.host import GuestOptions, Hosts
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.process.channel import shielded
from codemode_sandboxes.process.sandbox import SizedSandbox, ask

__all__ = ["DockerSandbox"]

_NAME = "docker"


class DockerSandbox(SizedSandbox[ContainerStarter]):
    """Runs programs in containers.

    A program sees the image, read-only, a `/tmp` of its own of 16 MB that ends with it, and nothing else: no other
    file, no network, no process but its own. It may use threads and processes, 32 together, and one bound holds for
    the memory of all of them. Each program has a container of its own; some are kept ready.

    Args:
        image: The image, which needs nothing but a Python of version 3.11 or later. By default the one that
            `codemode-graph build-image`, or `python -m codemode_sandboxes.docker build`, makes. Nothing is ever pulled.
        hosts: Addresses of Docker daemons, as in DOCKER_HOST; guests are spread over them, and one that does not answer
            is left out for a while. By default the one that DOCKER_HOST names, else this machine's.
        packages: The packages that the default image was built with.
        python: The name or path of the interpreter in an image of your own.
        runtime: The daemon's runtime, such as "runsc" for gVisor; by default the daemon's default.
        cpus: The processor time that one program may take, in processors.
        spares: Containers kept ready; each holds about 12 MB and saves about 300 ms. A run whose `memory_bytes` is not
            that of the run before finds none.

    Raises:
        ValueError: Both `image` and `packages` are named, or `hosts` is empty, or a number is too small.
    """

    name = _NAME

    def __init__(
        self,
        *,
        image: str | None = None,
        hosts: Sequence[str] | None = None,
        packages: Sequence[str] = (),
        python: str = "python3",
        runtime: str | None = None,
        cpus: float = 1.0,
        spares: int = 2,
    ) -> None:
        packages = [packages] if isinstance(packages, str) else list(packages)
        if image is not None and packages:
            raise ValueError("packages= goes with the default image; an image of your own has its own packages")
        if hosts is not None and not (hosts := [hosts] if isinstance(hosts, str) else list(hosts)):
            raise ValueError("hosts= names no host")
        if spares < 0 or cpus <= 0:
            raise ValueError("spares is at least 0, and cpus more than 0")
        self._addresses = hosts or [default_address()]
        name = image or image_tag(packages)
        make = f"docker pull {image}" if image else build_command(packages, hosts or ())
        self._options = GuestOptions(image=name, make_image=make, python=python, runtime=runtime, cpus=cpus)
        self._hosts_lock = threading.Lock()  # the pool's threads ask for the hosts too
        self._hosts: Hosts | None = None
        super().__init__(spares)

    def _starter(self, memory_bytes: int) -> ContainerStarter:
        return ContainerStarter(self._open(), memory_bytes)

    def _open(self) -> Hosts:
        with self._hosts_lock:
            if self._hosts is None or not self._hosts.alive:
                self._hosts = Hosts(self._addresses, self._options)
            return self._hosts

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers between a program and the host, such as "namespaces", "seccomp", "cgroup v2".

        Raises:
            SandboxUnavailable: The sandbox cannot run here.
        """
        hosts = self._open()
        try:
            facts = hosts.facts()
        except DaemonProblem as problem:
            raise SandboxUnavailable(_NAME, problem.reason, problem.remedy) from None
        runtime = self._options.runtime or facts.runtime
        security = [name for name in facts.security if name in ("seccomp", "apparmor", "selinux", "userns", "rootless")]
        return (runtime, "namespaces", *security, f"cgroup v{facts.cgroup}", "nobody", "no_new_privs", "rlimits")

    async def aclose(self) -> None:
        """End this event loop's runs, and the ready guests unless another loop has runs of its own.

        Returns once the daemons have removed the containers.
        """
        await super().aclose()
        if self._pool.starter is None:  # no other loop uses the pool
            with self._hosts_lock:
                hosts, self._hosts = self._hosts, None
            if hosts is not None:
                await shielded(asyncio.to_thread(hosts.close))

    def _unavailable(self, reason: str) -> SandboxUnavailable:
        return SandboxUnavailable(_NAME, reason, self._open().remedy(reason))

    async def _ask(self) -> Capabilities:
        with closing(self._new_pool(spares=0)) as pool:
            return await ask(pool, boundary="container", unavailable=self._unavailable)
