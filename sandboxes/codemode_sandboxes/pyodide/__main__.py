"""`python -m codemode_sandboxes.pyodide install [--package NAME] [--cache FOLDER]`: what Pyodide needs, fetched ahead."""

import argparse
import sys
from pathlib import Path

from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.pyodide.install import VERSION, cache_folder, find_pyodide, install
from codemode_sandboxes.pyodide.packages import install_packages, normalize


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m codemode_sandboxes.pyodide")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("install", help=f"fetch the npm package pyodide {VERSION} into the cache folder")
    command.add_argument("--cache", type=Path, help="the folder; give it to PyodideSandbox(cache=...) too")
    command.add_argument(
        "--package",
        action="append",
        default=[],
        metavar="NAME",
        help="fetch a package for programs, too, such as python-dateutil or 'attrs>=25'; may be repeated: the packages "
        "named together are those of one PyodideSandbox(packages=[...])",
    )
    arguments = parser.parse_args()
    try:
        requirements = normalize(arguments.package)
        place = _pyodide(arguments.cache, needed=not requirements)
        print(f"Pyodide {VERSION} is in {place}")  # noqa: T201
        if requirements:
            cache = (arguments.cache or cache_folder()).absolute()
            packages = install_packages(requirements, place, cache)
            print("Packages: " + ", ".join(f"{package.name} {package.version}" for package in packages))  # noqa: T201
    except (SandboxUnavailable, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _pyodide(cache: Path | None, *, needed: bool) -> Path:
    if not needed:
        try:
            return find_pyodide(None, (cache or cache_folder()).absolute())
        except SandboxUnavailable:
            pass
    return install(cache)


sys.exit(main())
