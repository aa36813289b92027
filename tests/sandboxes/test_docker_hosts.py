"""Docker daemons that stop, are killed, come again, are elsewhere, are several; images of other people's making."""

import asyncio
import io
import shutil
import signal
import socket
import sys
import tarfile
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from codemode_sandboxes import Blocked, Failed, Program, SandboxUnavailable
from codemode_sandboxes.docker import DEFAULT_IMAGE, DockerSandbox, build_docker_image, image_tag
from codemode_sandboxes.docker.container import GUEST_LABEL
from codemode_sandboxes.docker.daemon import Daemon, default_address
from codemode_sandboxes.docker.host import OWNER_LABEL, current_owner
from codemode_sandboxes.image import build_image

from tests.sandboxes.dockerd import OwnDaemon, certificates, own_daemon
from tests.sandboxes.driving import echo, run
from tests.sandboxes.processes import make

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]


@pytest.fixture(scope="module")
async def ordinary() -> AsyncIterator[Any]:
    """A sandbox on the daemon that is here already."""
    sandbox = make("docker")
    yield sandbox
    await sandbox.aclose()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="cmdk-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def second(ordinary: Any, folder: Path) -> Iterator[OwnDaemon]:
    """Another daemon, which is also reached over TLS."""
    certificates(folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    secure = ["--tlsverify", f"--tlscacert={folder}/ca.pem", f"--tlscert={folder}/server-cert.pem"]
    with own_daemon(folder, *secure, f"--tlskey={folder}/server-key.pem", "-H", f"tcp://127.0.0.1:{port}") as daemon:
        daemon.secure = f"tcp://127.0.0.1:{port}"
        yield daemon


def count(address: str) -> int:
    daemon = Daemon(address)
    try:
        return len(daemon._api.containers(all=True, filters={"label": f"{OWNER_LABEL}={current_owner()}"}))
    finally:
        daemon.close()


async def works_again(sandbox: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            assert (await run(sandbox, "6 * 7")).value == 42
            return
        except SandboxUnavailable as error:
            if time.monotonic() > end:
                raise AssertionError("it does not work again") from error
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_daemon_that_ends_in_the_middle_ends_the_run_and_may_come_again(
    second: OwnDaemon, how: signal.Signals
) -> None:
    sandbox = DockerSandbox(hosts=[second.address], spares=1)
    try:
        waiting = await sandbox.start(Program(code="await tools.echo(1)", tools=("echo",)))
        assert isinstance(await waiting.advance(), Blocked)
        computing = await sandbox.start(Program(code="while True: pass"))
        running = asyncio.create_task(computing.advance())
        await asyncio.sleep(0.1)
        await asyncio.to_thread(second.end, how)
        for event in (await running, await waiting.advance()):
            assert isinstance(event, Failed)
            assert event.kind == "died"
        with pytest.raises(SandboxUnavailable, match="no Docker daemon answers at unix://") as raised:
            await sandbox.start(Program(code="1"))
        assert "systemctl start docker" in raised.value.remedy
        await asyncio.to_thread(second.start)
        await works_again(sandbox)
    finally:
        await sandbox.aclose()
    assert count(second.address) == 0


async def test_guests_are_spread_over_hosts_and_a_dead_one_is_left_out(ordinary: Any, second: OwnDaemon) -> None:
    addresses = [default_address(), second.address]
    sandbox = DockerSandbox(hosts=["unix:///nowhere/docker.sock", *addresses], spares=0)
    program = Program(code="await tools.echo(1)", tools=("echo",))
    executions: list[Any] = [await sandbox.start(program) for _ in range(4)]
    places = Counter(execution._channel.process.guest.address for execution in executions)
    assert places == dict.fromkeys(addresses, 2)
    await asyncio.to_thread(second.end)
    more: Any = await sandbox.start(program)
    assert more._channel.process.guest.address == default_address()
    for execution in executions:
        assert isinstance(await execution.advance(), Blocked | Failed)
    await asyncio.to_thread(second.start)
    await sandbox.aclose()
    assert count(second.address) == 0


async def test_where_no_host_is_left_each_is_named() -> None:
    sandbox = DockerSandbox(hosts=["unix:///nowhere/a.sock", "tcp://127.0.0.1:9"])
    with pytest.raises(SandboxUnavailable, match=r"a\.sock; no Docker daemon answers at tcp://127\.0\.0\.1:9"):
        await sandbox.start(Program(code="1"))
    await sandbox.aclose()


async def test_a_daemon_is_reached_over_tls(second: OwnDaemon, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(folder))
    sandbox = DockerSandbox(hosts=[second.secure], spares=1)
    try:
        large = "x" * (3 << 20)
        code = "a = [await tools.echo('x' * (3 << 20), i) for i in range(3)]\n[len(a[2][0][0]), a[2][0][1]]"
        assert (await run(sandbox, code, {"echo": echo})).value == [len(large), 2]
        forgotten = await sandbox.start(Program(code="while True: pass"))
        running = asyncio.create_task(forgotten.advance())
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.wait([running])
    finally:
        await sandbox.aclose()
    assert count(second.address) == 0


def import_elsewhere(name: str, *changes: str) -> None:
    """Make an image whose Python is where Debian's images have it, without a runner, with a package and with habits."""
    image = build_image()
    folder = f"./usr/local/lib/python{'.'.join(image.version.split('.')[:2])}/site-packages"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for part in image.root.iterdir():
            if part.name in ("lib", "lib64", "usr", "etc"):
                tar.add(part, f"./{part.name}")
        tar.add(image.root / "py", "./usr/local")
        module = tarfile.TarInfo(f"{folder}/shipped.py")
        text = b"ANSWER = 42\n"
        module.size = len(text)
        tar.addfile(module, io.BytesIO(text))
    data.seek(0)
    daemon = Daemon(default_address())
    repository, _, tag = name.partition(":")
    daemon.add_image(data, repository, tag, list(changes))
    daemon.close()


def remove_image(name: str) -> None:
    daemon = Daemon(default_address())
    daemon._api.remove_image(name, force=True)
    daemon.close()


HABITS = (
    "ENV SECRET=of-the-image PYTHONPATH=/nowhere PYTHONSTARTUP=/x",
    "USER root",
    "VOLUME /data",
    'ENTRYPOINT ["/bin/nothing"]',
    "HEALTHCHECK CMD false",
)


async def test_an_image_of_ones_own_needs_nothing_but_a_python(ordinary: Any) -> None:
    name = "codemode-test-own:1"
    import_elsewhere(name, *HABITS)
    sandbox = DockerSandbox(image=name, spares=1)
    try:
        code = """
import os, shipped, sys
said = open('/proc/self/environ').read()
try:
    open('/data/x', 'w')
except OSError as error:
    said += type(error).__name__
[sys.executable, shipped.ANSWER, 'SECRET' in said, 'PYTHONPATH' in said, said[-7:], os.getuid(), dict(os.environ)]
"""
        assert (await run(sandbox, code)).value == ["/usr/local/bin/python3", 42, False, False, "OSError", 65534, {}]
        assert (await run(sandbox, "open('/tmp/a', 'w').write(str(await tools.echo(1)))", {"echo": echo})).value == 9
        failed = (await run(sandbox, "exit")).failed  # as in every other sandbox
        assert (failed.type, failed.line) == ("NameError", 1)
        assert "shipped" in sandbox.capabilities.modules
        assert sandbox.capabilities.boundary == "container"
        absent = DockerSandbox(image=name, python="python2.7", spares=0)
        with pytest.raises(SandboxUnavailable, match=r"has no python2\.7") as raised:
            await absent.start(Program(code="1"))
        assert "python=" in raised.value.remedy
        await absent.aclose()
    finally:
        await sandbox.aclose()
        remove_image(name)


async def test_an_image_made_for_another_version_of_the_runner_works(ordinary: Any) -> None:
    name = "codemode-test-older:1"
    daemon = Daemon(default_address())
    container = "codemode-test-older"
    daemon.create({"Image": DEFAULT_IMAGE, "Cmd": ["x"], "NetworkDisabled": True}, container)
    daemon._api.commit(container, *name.split(":"), changes=f"LABEL {GUEST_LABEL}=older")
    daemon.remove(container)
    daemon.close()
    sandbox = DockerSandbox(image=name, spares=0)
    try:
        assert (await run(sandbox, "await tools.echo(6 * 7)", {"echo": echo})).value == [[42], {}]
    finally:
        await sandbox.aclose()
        remove_image(name)


def wheel(folder: Path) -> str:
    place = folder / "shipped_words-1.0-py3-none-any.whl"
    with zipfile.ZipFile(place, "w") as file:
        file.writestr("shipped_words/__init__.py", "def shout(text): return text.upper()\n")
        file.writestr(
            "shipped_words-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: shipped-words\nVersion: 1.0\n"
        )
        file.writestr(
            "shipped_words-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr("shipped_words-1.0.dist-info/RECORD", "")
    return str(place)


async def test_packages_are_in_the_image_that_was_made_with_them(ordinary: Any, tmp_path: Path) -> None:
    packages = [wheel(tmp_path)]
    steps: list[str] = []
    name = await asyncio.to_thread(build_docker_image, packages=packages, report=steps.append)
    assert name == image_tag(packages)
    assert [step.split()[0] for step in steps] == ["collecting", "installing", "packing", "sending"]
    sandbox = DockerSandbox(packages=packages, spares=0)
    try:
        assert (await run(sandbox, "import shipped_words\nshipped_words.shout('a')")).value == "A"
        assert (await run(sandbox, "exit")).failed.type == "NameError"
        assert "shipped_words" in sandbox.capabilities.modules
        assert "shipped_words" not in ordinary.capabilities.modules
    finally:
        await sandbox.aclose()
        remove_image(name)
