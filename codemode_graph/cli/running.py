"""Running a command's work: in an event loop, with stdout kept for the answer, until it ends or Ctrl-C."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from contextlib import redirect_stdout
from typing import Any, NoReturn, TypeVar

import typer
from codemode_sandboxes import SandboxError
from rich.console import Console

from codemode_graph.errors import CodeModeError
from codemode_graph.trace.console import visible

__all__ = ["refuse", "run_async"]

T = TypeVar("T")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end.

    What tools print meanwhile goes to stderr. What the caller can put right becomes a line on stderr and exit status 2.
    Ctrl-C cancels the work, waits until it has freed what it holds, and leaves with 130.
    """
    with asyncio.Runner() as runner:
        try:
            with redirect_stdout(sys.stderr):
                return runner.run(work)
        except (CodeModeError, SandboxError) as error:
            refuse(str(error))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.stdout.flush()
            # Functions go on in their threads, and Python would wait for them.
            os._exit(130)


def refuse(message: str) -> NoReturn:
    """Say what has to be put right, and leave with exit status 2."""
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"codemode-graph: {visible(message)}", style="red", markup=False, highlight=False, emoji=False)
    raise typer.Exit(2)
