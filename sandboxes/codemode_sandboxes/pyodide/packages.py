"""Packages for Pyodide: fetched once with pip and locked with pyodide-lock; found again without a network.

pyodide-build has no part in it: it compiles packages, with tools that it downloads, and these are of Python alone.
"""

import hashlib
import json
import re
import shlex
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.pyodide.install import COMMAND, NAME, VERSION, cache_folder

__all__ = ["Package", "find_packages", "install_packages", "normalize"]

_EXTRA = "pip install 'codemode-sandboxes[pyodide]'"
_INFO = ("arch", "platform", "python", "abi_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package that guests can import.

    Attributes:
        name: Its name on the index, normalised.
        version: Its version.
        modules: Its top-level modules.
        wheel: The wheel's content.
        asked: Whether it was asked for, rather than needed by one that was.
    """

    name: str
    version: str
    modules: tuple[str, ...]
    wheel: bytes = field(repr=False)
    asked: bool


def normalize(packages: str | Iterable[str]) -> tuple[str, ...]:
    """Give requirements in one spelling and order.

    Args:
        packages: Names as on the index, with versions and extras if wanted: "python-dateutil", "attrs>=25,<26".

    Raises:
        ValueError: One is not of that form; addresses and folders are not taken.
        SandboxUnavailable: The extra `pyodide` is not installed.
    """
    packages = [packages] if isinstance(packages, str) else list(packages)
    if not packages:
        return ()
    try:
        from packaging.requirements import InvalidRequirement, Requirement
        from packaging.utils import canonicalize_name
    except ImportError:
        raise SandboxUnavailable(NAME, "packages= needs the package packaging", f"Run `{_EXTRA}`") from None
    found = set()
    for text in packages:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise ValueError(f"{text!r} is not a package with its version: {str(error).splitlines()[0]}") from None
        if requirement.url:
            raise ValueError(f"{text!r} names an address; packages come from the index that pip is configured for")
        requirement.name = canonicalize_name(requirement.name)
        found.add(str(requirement))
    return tuple(sorted(found))


def install_packages(requirements: Sequence[str], pyodide: Path, cache: Path) -> list[Package]:
    """Fetch packages and what they need with pip, only wheels of Python alone, and write a lockfile.

    Args:
        requirements: As `normalize` gives them.
        pyodide: Folder of the npm package.
        cache: The cache folder.

    Raises:
        SandboxUnavailable: A package is not to be had like that, or the extra `pyodide` is not installed.
    """
    try:
        from pyodide_lock import InfoSpec, PyodideLockSpec
        from pyodide_lock.utils import add_wheels_to_spec

        from codemode_sandboxes.pyodide.download import download_wheels
    except ImportError as error:
        raise SandboxUnavailable(NAME, f"packages need more than is installed: {error}", f"Run `{_EXTRA}`") from None
    lock = _lock(requirements, cache)
    info = json.loads((pyodide / "pyodide-lock.json").read_text())["info"]
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=lock.parent, prefix="new-") as name:
            folder = Path(name)
            wheels = [_store(wheel, cache) for wheel in download_wheels(requirements, info["python"], folder)]
            empty = PyodideLockSpec(
                info=InfoSpec(**{"version": VERSION} | {key: info.get(key) for key in _INFO}), packages={}
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of metadata newer than the reader
                spec = add_wheels_to_spec(empty, wheels, base_path=lock.parent)
            spec.to_json(folder / lock.name, indent=1)
            (folder / lock.name).replace(lock)
    except OSError as error:
        raise SandboxUnavailable(NAME, f"the packages cannot be kept: {error}", "Name another --cache") from None
    except (RuntimeError, ValueError) as error:
        raise SandboxUnavailable(NAME, f"the packages cannot be locked: {str(error)[:300]}") from None
    return find_packages(requirements, cache)


def find_packages(requirements: Sequence[str], cache: Path) -> list[Package]:
    """Give the packages that `install_packages` put in the cache for exactly these requirements.

    Raises:
        SandboxUnavailable: They are not there, or are not what the lockfile says.
    """
    if not requirements:
        return []
    remedy = f"Run `{_command(requirements, cache)}`"
    lock = _lock(requirements, cache)
    try:
        entries: dict[str, dict[str, Any]] = json.loads(lock.read_text())["packages"]
        wheels = {name: (lock.parent / entry["file_name"]).read_bytes() for name, entry in entries.items()}
    except FileNotFoundError:
        names = ", ".join(requirements)
        raise SandboxUnavailable(NAME, f"these packages are not prepared: {names}", remedy) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SandboxUnavailable(NAME, f"the lockfile {lock} is of no use: {error}", remedy) from None
    for name, wheel in wheels.items():
        if hashlib.sha256(wheel).hexdigest() != entries[name]["sha256"]:
            raise SandboxUnavailable(NAME, f"the wheel of {name} is not the one that was locked", remedy)
    asked = {_name(requirement) for requirement in requirements}
    return [
        Package(
            name=name,
            version=entry["version"],
            modules=tuple(sorted(entry["imports"])),
            wheel=wheels[name],
            asked=name in asked,
        )
        for name, entry in sorted(entries.items())
    ]


def _lock(requirements: Sequence[str], cache: Path) -> Path:
    key = hashlib.sha256("\n".join((VERSION, *requirements)).encode()).hexdigest()[:32]
    return cache / "packages" / f"{key}.json"


def _store(wheel: Path, cache: Path) -> Path:
    """Put a wheel where every lockfile finds it; one of the same name and other content stands beside it."""
    folder = cache / "packages" / "wheels" / hashlib.sha256(wheel.read_bytes()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return wheel.replace(folder / wheel.name)


def _name(requirement: str) -> str:
    found = re.match(r"[a-z0-9-]+", requirement)
    return found[0] if found else ""


def _command(requirements: Sequence[str], cache: Path) -> str:
    parts = [COMMAND, *(f"--package {shlex.quote(requirement)}" for requirement in requirements)]
    if cache != cache_folder().absolute():
        parts.append(f"--cache {shlex.quote(str(cache))}")
    return " ".join(parts)
