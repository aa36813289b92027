"""The command line, `codemode-graph`."""

import os
import sys
import threading

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
    """Wait for functions that were given up but go on in their threads, as Python would, and say so."""
    ours = [each for each in threading.enumerate() if not each.daemon and each is not threading.main_thread()]
    # LangSmith's threads send what is left, and end, once this one has ended.
    left = [each for each in ours if not _target_module(each).startswith("langsmith.")]
    try:
        for each in left:
            each.join(0.5)
            if each.is_alive():
                print("waiting for a tool that is still at work; Ctrl-C leaves without it", file=sys.stderr)
                each.join()
    except KeyboardInterrupt:
        sys.stdout.flush()
        os._exit(130)


def _target_module(thread: threading.Thread) -> str:
    return str(getattr(getattr(thread, "_target", None), "__module__", ""))
