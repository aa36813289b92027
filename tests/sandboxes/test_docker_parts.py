"""The parts of the sandbox docker that need no daemon: its errors, its stream, its names and what it asks for."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from codemode_sandboxes import Program, SandboxUnavailable, create_sandbox
from codemode_sandboxes.docker import DEFAULT_IMAGE, BuildFailed, DockerSandbox, build_docker_image, image_tag
from codemode_sandboxes.docker.build_image import build_command
from codemode_sandboxes.docker.container import (
    GUEST_LABEL,
    PACKAGES_LABEL,
    RunnerStart,
    container_config,
    guest_version,
    runner_start,
)
from codemode_sandboxes.docker.daemon import Daemon, DaemonFacts, ImageFacts
from codemode_sandboxes.docker.guest import Demultiplexer
from codemode_sandboxes.docker.host import current_owner, is_alive
from codemode_sandboxes.process.spawn import Noise
from hypothesis import given
from hypothesis import strategies as st

NOWHERE = "unix:///nowhere/docker.sock"


async def refusal(**options: Any) -> SandboxUnavailable:
    """Return why a sandbox cannot run."""
    sandbox: Any = create_sandbox("docker", **options)
    with pytest.raises(SandboxUnavailable) as raised:
        await sandbox.start(Program(code="1"))
    with pytest.raises(SandboxUnavailable, match=raised.value.reason[:20]):
        assert sandbox.layers
    await sandbox.aclose()
    return raised.value


async def test_without_the_sdk_it_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    problem = await refusal()
    assert problem.reason == "the package docker is not installed"
    assert problem.remedy == "Install it: pip install 'codemode-sandboxes[docker]'"


@pytest.mark.parametrize(
    ("address", "reason", "remedy"),
    [
        (NOWHERE, f"no Docker daemon answers at {NOWHERE}", "sudo systemctl start docker"),
        ("tcp://127.0.0.1:9", "no Docker daemon answers at tcp://127.0.0.1:9", "DOCKER_HOST"),
        ("ssh://me@there", "ssh://me@there is not a kind of address", "ssh -N -L"),
        ("nonsense://x", "the address nonsense://x cannot be used: ", "DOCKER_HOST"),
    ],
)
async def test_without_a_daemon_it_says_what_starts_one(
    monkeypatch: pytest.MonkeyPatch, address: str, reason: str, remedy: str
) -> None:
    for options in ({"hosts": [address]}, {"hosts": address}, {}):
        monkeypatch.setenv("DOCKER_HOST", address)
        problem = await refusal(**options)
        assert problem.reason.startswith(reason)
        assert remedy in problem.remedy


async def test_a_user_who_may_not_use_the_daemon_is_told_how_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(connection: Any, address: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    problem = await refusal(hosts=[NOWHERE])
    assert problem.reason == f"this user may not use the Docker daemon at {NOWHERE}"
    assert "usermod -aG docker" in problem.remedy


class Answering(Daemon):
    """A daemon that answers, and cannot bound what containers use."""

    limits = frozenset[str]()

    def __init__(self, address: str) -> None:
        self.address = address

    def facts(self) -> DaemonFacts:
        return DaemonFacts(limits=self.limits, runtimes=("runc",), runtime="runc", cgroup="2", security=())

    def close(self) -> None:
        pass


async def test_a_daemon_that_cannot_bound_what_programs_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codemode_sandboxes.docker.host.Daemon", Answering)
    problem = await refusal(hosts=[NOWHERE])
    assert problem.reason == f"the Docker daemon at {NOWHERE} cannot bound a container's memory and processes"
    assert "rootless" in problem.remedy


async def test_a_runtime_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codemode_sandboxes.docker.host.Daemon", Answering)
    monkeypatch.setattr(Answering, "limits", frozenset({"memory", "processes"}))
    for runtime, remedy in (("runsc", "sudo runsc install"), ("kata", "daemon.json")):
        problem = await refusal(hosts=[NOWHERE], runtime=runtime)
        assert problem.reason == f"the Docker daemon at {NOWHERE} has no runtime {runtime!r}; it has runc"
        assert remedy in problem.remedy


@pytest.mark.parametrize(
    "options", [{"image": "a", "packages": ["b"]}, {"hosts": []}, {"spares": -1}, {"cpus": 0}, {"unknown": 1}]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        create_sandbox("docker", **options)


@given(
    parts=st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=20)), max_size=8),
    sizes=st.lists(st.integers(1, 30), min_size=1),
)
def test_a_stream_is_taken_apart_however_it_arrives(parts: list[tuple[int, bytes]], sizes: list[int]) -> None:
    stream = b"".join(bytes([kind, 0, 0, 0]) + len(data).to_bytes(4, "big") + data for kind, data in parts)
    noise = Noise()
    streams, output, at, turn = Demultiplexer(noise), b"", 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        output += streams.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert output == b"".join(data for kind, data in parts if kind == 1)
    assert noise.text == b"".join(data for kind, data in parts if kind == 2).decode("utf-8", "replace").strip()


def test_an_image_is_named_by_its_packages_whatever_their_order() -> None:
    assert image_tag([]) == DEFAULT_IMAGE
    assert image_tag(["pandas>=2", "NumPy"]) == image_tag(["numpy", "pandas>=2"])
    assert len({image_tag(["numpy"]), image_tag(["numpy", "pandas"]), image_tag(["numpy==2.0"])}) == 3
    assert image_tag(["numpy"]).startswith("codemode-sandbox:numpy-")
    assert len(image_tag(["x" * 300]).partition(":")[2]) < 128
    assert build_command(["a>1"], ["unix:///b"]) == (
        "python -m codemode_sandboxes.docker build --package 'a>1' --host unix:///b"
    )


def test_an_owner_lives_until_its_process_has_ended() -> None:
    assert is_alive(current_owner()) is True
    place, pid, start_time = current_owner().split("/")
    assert is_alive(f"{place}/{pid}/{int(start_time) - 1}") is False  # another process had that number
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        path = Path(f"/proc/{process.pid}/stat")
        theirs = f"{place}/{process.pid}/{path.read_text().rpartition(')')[2].split()[19]}"
        assert is_alive(theirs) is True
        process.kill()
    assert is_alive(theirs) is False
    for stranger in (f"elsewhere/{pid}/{start_time}", "", "a/b", f"{place}/x/1"):
        assert is_alive(stranger) is None


IMAGE = ImageFacts(id="sha256:1", labels={}, variables=("PATH", "SECRET", "LANG"), volumes=("/data", "/tmp"))


def config(**options: Any) -> dict[str, Any]:
    start = RunnerStart(command=("python3",), environment={"LANG": "C.UTF-8"})
    defaults: dict[str, Any] = {"memory_bytes": 1 << 20, "cpus": 0.5, "runtime": None, "gvisor": False, "labels": {}}
    return container_config(IMAGE, start, **{**defaults, **options})


def test_a_container_gets_nothing_of_what_its_image_sets() -> None:
    assert config()["Env"] == ["LANG=C.UTF-8", "SECRET"]  # a name alone takes the variable away
    assert "ro," in config()["HostConfig"]["Tmpfs"]["/data"]
    assert "rw," in config()["HostConfig"]["Tmpfs"]["/tmp"]
    assert config()["HostConfig"]["NanoCpus"] == 500_000_000


def test_a_runtime_is_passed_on_and_gvisor_gets_threads_of_its_own() -> None:
    assert "Runtime" not in config()["HostConfig"]
    ours, gvisors = (config(runtime=name, gvisor=name == "runsc")["HostConfig"] for name in ("crun", "runsc"))
    assert (ours["Runtime"], gvisors["Runtime"]) == ("crun", "runsc")
    assert ours["PidsLimit"] < 256 <= gvisors["PidsLimit"]


def test_the_runner_is_sent_where_the_image_has_not_this_one() -> None:
    def labelled(**labels: str) -> ImageFacts:
        return ImageFacts(id="1", labels=labels, variables=(), volumes=())

    own = runner_start(labelled(**{GUEST_LABEL: guest_version()}), "python3")
    packed = runner_start(labelled(**{GUEST_LABEL: guest_version(), PACKAGES_LABEL: "a"}), "python3")
    older = runner_start(labelled(**{GUEST_LABEL: "older"}), "python3")
    other = runner_start(labelled(), "python3.12")
    assert (own.command[0], "-S" in own.command, own.payload) == ("/py/bin/python3", True, b"")
    assert ("-S" in packed.command, packed.payload) == (False, b"")
    assert (older.command[0], older.payload) == ("/py/bin/python3", other.payload)
    assert (other.command[0], len(other.payload) > 10_000) == ("python3.12", True)


def test_building_needs_a_daemon_before_anything_is_done() -> None:
    steps: list[str] = []
    with pytest.raises(BuildFailed, match="no Docker daemon answers at unix:///nowhere"):
        build_docker_image(hosts=[NOWHERE], report=steps.append)
    assert steps == []
    command = [sys.executable, "-m", "codemode_sandboxes.docker", "build"]
    done = subprocess.run(command, env={**os.environ, "DOCKER_HOST": NOWHERE}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "sudo systemctl start docker" in done.stderr


def test_importing_the_sandbox_imports_no_sdk() -> None:
    code = (
        "import sys, codemode_sandboxes.docker\nprint([name for name in ('docker', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert isinstance(create_sandbox("docker"), DockerSandbox)
