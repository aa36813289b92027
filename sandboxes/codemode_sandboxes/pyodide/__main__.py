"""The commands `python -m codemode_sandboxes.pyodide install` and `build`: fetch Pyodide and packages, build one's own."""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
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
from codemode_sandboxes.pyodide.project import build_project, find_built
from codemode_sandboxes.pyodide.sandbox import PyodideSandbox
from codemode_sandboxes.pyodide.snapshot import compile_wheels


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
    command.add_argument(
        "--no-compile",
        action="store_true",
        help="leave the packages without bytecode: they are smaller and sooner installed, and import more slowly",
    )
    builder = commands.add_parser(
        "build",
        help="make a wheel of a project of your own, with pyodide-build, which `install --package NAME` then takes",
    )
    builder.add_argument("path", type=Path, metavar="PATH", help="the project's folder")
    builder.add_argument("--cache", type=Path, help="the folder, as for install")
    builder.add_argument(
        "--no-isolation", action="store_true", help="build it with what is installed here, without the package index"
    )
    arguments = parser.parse_args()
    cache = (arguments.cache or cache_folder()).absolute()
    try:
        if arguments.command == "build":
            _build(arguments.path, cache, isolated=not arguments.no_isolation)
            return 0
        requirements = normalize(arguments.package)
        folder = _find_or_install(cache) if requirements else install_pyodide(cache)
        print(f"Pyodide {VERSION} is in {folder}")  # noqa: T201
        if requirements:
            _add(requirements, folder, cache, compiled=not arguments.no_compile)
    except (SandboxUnavailable, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _find_or_install(cache: Path) -> Path:
    with suppress(SandboxUnavailable):
        return find_pyodide(None, cache)
    return install_pyodide(cache)


def _build(project: Path, cache: Path, *, isolated: bool) -> None:
    wheel = build_project(project, cache, isolated=isolated)
    name, version = wheel.name.split("-")[:2]
    option = "" if cache == cache_folder().absolute() else f" --cache {cache}"
    print(f"{name} {version} is in {wheel}")  # noqa: T201
    print(f"Add it: python -m codemode_sandboxes.pyodide install --package {name}=={version}{option}")  # noqa: T201


def _add(requirements: tuple[str, ...], pyodide: Path, cache: Path, *, compiled: bool) -> None:
    from packaging.requirements import Requirement

    prepare: Callable[[Sequence[Path]], None] | None = None
    try:
        jail = find_jail("auto", node=None, deno=None)
    except SandboxUnavailable as error:
        reason = error.reason
    else:
        reason = ""
        prepare = partial(compile_wheels, jail, pyodide) if compiled else None
    packages = install_packages(
        requirements, pyodide, cache, prepare=prepare, own=lambda text: find_built(Requirement(text), cache)
    )
    print("Packages: " + ", ".join(f"{package.name} {package.version}" for package in packages))  # noqa: T201
    if reason:
        print(f"They could be neither compiled nor tried here: {reason}")  # noqa: T201
        return
    # A guest imports every package when its snapshot is made; the error names one that it cannot import.
    offered = PyodideSandbox(packages=requirements, cache=cache).capabilities.modules
    found = sorted(module for package in packages for module in package.modules if module in offered)
    print("Modules: " + ", ".join(found))  # noqa: T201


sys.exit(main())
