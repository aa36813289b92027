"""The command line, `codemode-graph`."""

import os
import signal
import sys
import threading
import time

from codemode_graph.compat import module_of_thread

__all__ = ["main"]


def main() -> None:
    """Run a command. What the caller can put right is one line on stderr, and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that has no ✓ shows its number rather than a traceback.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    from codemode_graph.cli.app import app

    try:
        app(prog_name="codemode-graph")
    finally:
        _wait_for_tools()


def _wait_for_tools() -> None:
    """Let Python wait, as it does, for functions that were given up but go on in their threads; but say so.

    To wait for threads here would be to wait for those that end only once this one has: LangSmith's, and idle ones.
    """
    if not _others():
        return
    signal.signal(signal.SIGINT, _leave)
    threading.Thread(target=_tell, daemon=True).start()


def _tell() -> None:
    time.sleep(0.5)
    if any(not module_of_thread(each).startswith("langsmith.") for each in _others()):
        print("waiting for a tool that is still at work; Ctrl-C leaves without it", file=sys.stderr, flush=True)


def _leave(*_: object) -> None:
    sys.stdout.flush()
    os._exit(130)


def _others() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if not each.daemon and each is not threading.main_thread()]
