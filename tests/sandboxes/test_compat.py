"""Private names of other libraries: each test fails once a public name does the same, and the private one can go."""

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from codemode_sandboxes.compat import close_failed_connections, take_socket

docker: Any = pytest.importorskip("docker")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs unix sockets")


class Recorded(socket.socket):
    """A socket that is in the list of all that were made."""

    opened: list[socket.socket]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.opened.append(self)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    Recorded.opened = []
    monkeypatch.setattr(socket, "socket", Recorded)
    yield Recorded.opened
    for each in Recorded.opened:
        each.close()


@pytest.mark.parametrize("closing", [True, False])
def test_the_sdk_alone_leaves_a_connection_open_that_failed(opened: list[socket.socket], closing: bool) -> None:
    api = docker.APIClient("unix:///nowhere/docker.sock", version="1.41")
    if closing:
        close_failed_connections(api)
    with contextlib.closing(api), pytest.raises(OSError, match="No such file"):
        api.version()
    assert [each.fileno() == -1 for each in opened] == [closing]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A daemon's socket that answers one request to attach, and then sends back the first bytes that come."""

    def answer() -> None:
        with server.accept()[0] as connection:
            while b"\r\n\r\n" not in connection.recv(1 << 16):
                pass
            connection.sendall(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            connection.sendall(connection.recv(100))

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "docker.sock"))
        server.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"unix://{tmp_path}/docker.sock"
        thread.join()


def test_a_stream_of_the_sdk_has_its_socket_under_a_private_name_alone(address: str) -> None:
    with contextlib.closing(docker.APIClient(address, version="1.41")) as api:
        stream = api.attach_socket("guest", params={"stream": 1})
        public = [getattr(stream, name) for name in dir(stream) if not name.startswith("_")]
        assert not any(isinstance(each, socket.socket) for each in public)
        connection, close_response = take_socket(stream)
        with connection.dup() as own:
            close_response()
            own.sendall(b"hello")
            assert own.recv(100) == b"hello"
