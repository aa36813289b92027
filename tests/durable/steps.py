"""Steps of runs, each in a process of its own. They are forked from a process that has imported the graphs: to import them
anew takes two seconds, and tests of kills start hundreds. `test_processes` begins in interpreters that know nothing.
"""

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "Step"]

ROOT = Path(__file__).parents[2]
_SECONDS = 120

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.durable.ledger_graph", "tests.durable.bank"])


class Step:
    """A process that does one step, and what it writes."""

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._streams = [str(Path(self._folder.name) / name) for name in ("out", "err")]
        self._process = _processes.Process(target=_work, args=(self._streams, work, arguments))
        self._process.start()

    def wait(self) -> str | None:
        """Return what it has written; None where it was killed."""
        self._process.join(_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            raise AssertionError(f"a step takes more than {_SECONDS} seconds")
        out, errors = (Path(stream).read_text() for stream in self._streams)
        self._folder.cleanup()
        if self._process.exitcode == -signal.SIGKILL:
            return None
        assert self._process.exitcode == 0, errors
        return out


def _work(streams: list[str], work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    # The server has the descriptors of the test that started it first.
    for number, stream in enumerate(streams, 1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(ROOT)
    work(*arguments)
