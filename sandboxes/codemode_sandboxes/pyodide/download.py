"""Asks pip for wheels that Pyodide can use. Nothing of a package runs on this machine."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.pyodide.install import NAME

__all__ = ["download_wheels"]

_SECONDS = 600
_QUIET = ("--no-input", "--disable-pip-version-check")

# pip takes the Python version for which it is to find wheels, but what packages say of their needs ("; sys_platform ==
# 'win32'") it holds against the machine that it runs on.
_PIP = """
import functools, json, runpy, sys
from pip._vendor.packaging.markers import Marker
there, evaluate = json.loads(sys.argv.pop(1)), Marker.evaluate
@functools.wraps(evaluate)
def evaluate_there(self, environment=None, *rest, **options):
    return evaluate(self, {**there, **(environment or {})}, *rest, **options)
Marker.evaluate = evaluate_there
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
_NOT_FOUND = re.compile(r"satisfies the requirement (.+?)(?: \(from (?!versions)([^()]*)\))? \(from versions: (.*)\)")


def download_wheels(requirements: Sequence[str], python: str, folder: Path) -> list[Path]:
    """Fetch the wheels of packages and of all that they need, from the index that pip is configured for.

    Args:
        requirements: What is wanted, as pip takes it.
        python: Pyodide's Python version, such as "3.14.2".
        folder: Where the wheels go; it is empty.

    Raises:
        SandboxUnavailable: pip is missing or fails, or a package has no wheel of Python alone.
    """
    minor = python.rpartition(".")[0]
    there = {
        "implementation_name": "cpython", "implementation_version": python, "os_name": "posix",
        "platform_machine": "wasm32", "platform_release": "", "platform_system": "Emscripten", "platform_version": "",
        "platform_python_implementation": "CPython", "python_full_version": python, "python_version": minor,
        "sys_platform": "emscripten",
    }  # fmt: skip
    target = ["--implementation", "cp", "--python-version", minor, "--abi", "none", "--platform", "any"]
    options = ["--only-binary", ":all:", *target, "--progress-bar", "off", "--dest", str(folder)]
    done = _run(["-c", _PIP, json.dumps(there), "download", *_QUIET, *options, "--", *requirements])
    if done.returncode:
        raise SandboxUnavailable(NAME, *_explain(done.stderr))
    return sorted(folder.glob("*.whl"))


def _run(arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            [sys.executable, "-P", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(NAME, f"pip does not work: {error}", "Run the command again") from None


def _explain(said: str) -> tuple[str, str]:
    """Give the reason, and the remedy."""
    if "No module named 'pip'" in said:
        return "pip is not installed beside this Python", "Run `python -m ensurepip`"
    if "Retrying (" in said:
        return "pip cannot reach the package index", "Run the command again where there is a network"
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    found = next((match for line in errors if (match := _NOT_FOUND.search(line))), None)
    if found is None:
        return f"pip cannot get the packages: {(errors or [said.strip()[-300:]])[0][:300]}", ""
    wanted, needed_by, versions = found.groups()
    wanted += f" (which {needed_by} needs)" if needed_by else ""
    if versions != "none":
        return f"there is no {wanted} that can be used; there are {versions[-200:]}", "Name another version"
    if not _exists(found[1]):
        return f"no package is named {wanted}", "Look the name up; pip asks the index that it is configured for"
    reason = f"{wanted} has no wheel that is of Python alone, and compiled code cannot be put in a memory snapshot"
    return reason, "Do without it, or use a sandbox with packages of its own: DockerSandbox(packages=[...])"


def _exists(wanted: str) -> bool:
    try:
        name = Requirement(wanted).name
    except InvalidRequirement:
        return True
    done = _run(["-m", "pip", "index", "versions", *_QUIET, "-vv", "--pre", name])
    file = "[-_.]+".join(map(re.escape, re.split("[-_.]+", name))) + r"-\d[^ ]*\.(whl|tar\.gz|zip)"
    return done.returncode == 0 or bool(
        re.search(file, done.stdout + done.stderr, re.IGNORECASE)
    )  # what it passed over
