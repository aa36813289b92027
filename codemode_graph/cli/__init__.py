"""The command line, `codemode-graph`."""

import sys

from codemode_sandboxes import SandboxError
from rich.console import Console

from codemode_graph.cli.app import app
from codemode_graph.errors import CodeModeError

__all__ = ["main"]


def main() -> None:
    """Run a command. What the caller can put right is one line on stderr, and exit status 2."""
    try:
        app()
    except (CodeModeError, SandboxError) as error:
        Console(stderr=True, soft_wrap=True).print(
            f"codemode-graph: {error}", style="red", markup=False, highlight=False
        )
        sys.exit(2)
