"""The command `python -m codemode_sandboxes.pyodide install`, which fetches Pyodide and packages for it."""

import argparse
import sys
from contextlib import suppress
from pathlib import Path

from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.pyodide.jail import find_jail
from codemode_sandboxes.pyodide.packages import (
    VERSION,
    cache_folder,
    find_pyodide,
    install_packages,
    install_pyodide,
    normalize,
)
from codemode_sandboxes.pyodide.sandbox import PyodideSandbox


def main() -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m codemode_sandboxes.pyodide")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("install", help=f"fetch the npm package pyodide {VERSION} into the cache folder")
    command.add_argument("--cache", type=Path, help="the folder; PyodideSandbox(cache=...) needs it too")
    command.add_argument(
        "--package",
        action="append",
        default=[],
        metavar="NAME",
        help="fetch a package for programs, too, such as python-dateutil or 'attrs>=25'; may be repeated: the packages "
        "named together are those of one PyodideSandbox(packages=[...])",
    )
    arguments = parser.parse_args()
    cache = (arguments.cache or cache_folder()).absolute()
    try:
        requirements = normalize(arguments.package)
        folder = _find_or_install(cache) if requirements else install_pyodide(cache)
        print(f"Pyodide {VERSION} is in {folder}")  # noqa: T201
        if requirements:
            _add(requirements, folder, cache)
    except (SandboxUnavailable, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _find_or_install(cache: Path) -> Path:
    with suppress(SandboxUnavailable):
        return find_pyodide(None, cache)
    return install_pyodide(cache)


def _add(requirements: tuple[str, ...], pyodide: Path, cache: Path) -> None:
    packages = install_packages(requirements, pyodide, cache)
    print("Packages: " + ", ".join(f"{package.name} {package.version}" for package in packages))  # noqa: T201
    try:
        find_jail("auto", node=None, deno=None)
    except SandboxUnavailable as error:
        print(f"They could not be tried here: {error.reason}")  # noqa: T201
        return
    # A guest imports every package when its snapshot is made; the error names one that it cannot import.
    offered = PyodideSandbox(packages=requirements, cache=cache).capabilities.modules
    found = sorted(module for package in packages for module in package.modules if module in offered)
    print("Modules: " + ", ".join(found))  # noqa: T201


sys.exit(main())
