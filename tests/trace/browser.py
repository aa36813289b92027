"""Headless Chromium, and a server on loopback that it reads pages from."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["CHROMIUM", "Site", "dump", "print_to_pdf", "screenshot", "site"]

CHROMIUM = shutil.which("chromium")
_OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
]  # fmt: skip


@dataclass
class Site:
    """Serves `pages` by their path, and keeps the paths that were asked for."""

    url: str
    pages: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@contextmanager
def site() -> Iterator[Site]:
    """Serve pages on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            page = found.pages.get(self.path)
            self.send_response(200 if page is not None else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write((page or "").encode())

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Site(url=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def dump(url: str) -> str:
    """Open a page, and give what it has become."""
    return _chromium("--virtual-time-budget=3000", "--dump-dom", url).stdout


def screenshot(url: str, path: Path, *, width: int, height: int) -> bytes:
    """Open a page, and give a picture of it, as PNG."""
    _chromium(f"--window-size={width},{height}", f"--screenshot={path}", url)
    return path.read_bytes()


def print_to_pdf(url: str, path: Path) -> bytes:
    """Open a page, and give it as it would be printed, as PDF."""
    _chromium(f"--print-to-pdf={path}", "--no-pdf-header-footer", url)
    return path.read_bytes()


def _chromium(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        return subprocess.run(
            [CHROMIUM, *_OPTIONS, f"--user-data-dir={profile}", *arguments],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
