"""The command line, `codemode-graph`."""

import os
import signal
import sys
import threading
import time

from codemode_graph.compat import module_of_thread

__all__ = ["main"]


def main() -> None:
    """Run a command. An error that the caller can correct is one line on stderr, with exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal whose encoding lacks ✓ shows its code rather than a traceback.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    from codemode_graph.cli.app import app

    try:
        app(prog_name="codemode-graph")
    finally:
        _wait_for_tools()


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
