"""`python -m codemode_sandboxes.pyodide install [--cache FOLDER]` fetches Pyodide with npm."""

import argparse
import sys
from pathlib import Path

from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.pyodide.install import VERSION, install


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m codemode_sandboxes.pyodide")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("install", help=f"fetch the npm package pyodide {VERSION} into the cache folder")
    command.add_argument("--cache", type=Path, help="the folder; give it to PyodideSandbox(cache=...) too")
    arguments = parser.parse_args()
    try:
        place = install(arguments.cache)
    except SandboxUnavailable as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(f"Pyodide {VERSION} is in {place}")  # noqa: T201
    return 0


sys.exit(main())
