"""The command line, `codemode-graph`."""

import codecs
import errno
import io
import os
import signal
import sys
import threading
import time
from typing import TextIO

from codemode_graph.compat import module_of_thread

__all__ = ["main"]

# ASCII for what the command line draws with; other characters are shown as their code.
_PLAIN = str.maketrans("✓✗→·…─━│×—–", "+x>-.-=|x--")


def main() -> None:
    """Run a command. An error that the caller can correct is one line on stderr, with exit status 2."""
    codecs.register_error("codemode-plain", _plain)
    stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)
    sys.stdout = stdout
    from codemode_graph.cli.app import app
    from codemode_graph.cli.flags import UNWRITTEN

    try:
        app(prog_name="codemode-graph")
    except SystemExit as end:
        stdout.flush()
        raw = stdout.buffer.raw if isinstance(stdout.buffer, io.BufferedWriter) else None
        if isinstance(raw, _Output) and raw.problem is not None:
            print(f"codemode-graph: stdout cannot be written: {raw.problem.strerror}", file=sys.stderr)
            raise SystemExit(end.code or UNWRITTEN) from None
        raise
    finally:
        _wait_for_tools()


class _Output(io.FileIO):
    """A file descriptor whose reader may go and whose disk may fill up: it notes the first error, and discards the rest.

    A run must not end in the middle of its effects because nobody reads its progress, and Python itself writes a traceback
    where the last flush of stdout fails.
    """

    problem: OSError | None = None

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BlockingIOError:
            raise
        except OSError as error:
            self.problem = self.problem or error
            return memoryview(data).nbytes  # type: ignore[arg-type]


class _Closed(_Output):
    """A stream that the caller has closed: nothing that is written to it arrives.

    Its number is held by the null device. Else it would become that of the next file that is opened, which prints would spoil.
    """

    def write(self, data: object, /) -> int:
        self.problem = OSError(errno.EBADF, "it is closed")
        return memoryview(data).nbytes  # type: ignore[arg-type]


def _guarded(stream: TextIO | None) -> io.TextIOWrapper:
    """Return a stream for stdout or stderr whose writes do not fail, and which can show every character somehow."""
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(_Closed(os.devnull, "w")), encoding="utf-8")
    assert isinstance(stream, io.TextIOWrapper)
    # A terminal whose encoding lacks ✓ shows its code rather than a traceback.
    plain = _is_plain()
    encoding, errors = ("ascii", "codemode-plain") if plain else (stream.encoding, "backslashreplace")
    if sys.platform == "win32" and stream.isatty():  # the console takes text, and bytes only in its own code page
        stream.reconfigure(encoding=encoding, errors=errors)
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(stream.fileno(), "w", closefd=False)),
        encoding=encoding,
        errors=errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _is_plain() -> bool:
    """Return True where the locale asks for ASCII. Python itself would write UTF-8 there (PEP 540)."""
    chosen = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := os.environ.get(name))), "")
    return chosen in ("C", "POSIX")


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace"), error.end


def _wait_for_tools() -> None:
    """Show why the command does not end yet, where the thread of a tool that timed out still runs.

    Python waits for such threads at its exit, which is right: a tool may be in the middle of a write. They are not joined
    here, because some threads, such as LangSmith's, end only after the main thread has ended.
    """
    if not _other_threads():
        return
    # Python's own handler would print a traceback from the middle of its shutdown.
    signal.signal(signal.SIGINT, _exit_at_once)
    threading.Thread(target=_show_wait, daemon=True).start()


def _show_wait() -> None:
    time.sleep(0.5)  # idle threads of a pool end within this time; they need no message
    if any(not module_of_thread(thread).startswith("langsmith.") for thread in _other_threads()):
        print("waiting for a tool that is still at work; Ctrl-C leaves without it", file=sys.stderr, flush=True)


def _exit_at_once(*_: object) -> None:
    sys.stdout.flush()
    os._exit(130)


def _other_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
