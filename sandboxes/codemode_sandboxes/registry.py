"""Backends by name."""

import difflib
import importlib
from typing import Any

from codemode_sandboxes.contract import Sandbox
from codemode_sandboxes.errors import UnknownSandbox

__all__ = ["ALIASES", "EXTRAS", "PACKAGED", "SANDBOXES", "SPREAD", "backend_name", "create_sandbox"]

SANDBOXES: dict[str, str] = {
    "bubblewrap": "codemode_sandboxes.jail.bubblewrap:BubblewrapSandbox",
    "docker": "codemode_sandboxes.docker:DockerSandbox",
    "monty": "codemode_sandboxes.monty:MontySandbox",
    "nsjail": "codemode_sandboxes.jail.nsjail:NsjailSandbox",
    "pyodide": "codemode_sandboxes.pyodide:PyodideSandbox",
    "ray": "codemode_sandboxes.ray:RaySandbox",
    "restricted": "codemode_sandboxes.restricted:RestrictedSandbox",
}
"""The class of each backend. It is imported when it is first asked for, as some need packages of their own."""

EXTRAS: dict[str, str] = {name: name for name in ("bubblewrap", "docker", "nsjail", "pyodide", "ray")}
"""For the backends that need more than this distribution: the extra that brings it."""

PACKAGED = frozenset({"docker", "pyodide"})
"""Backends that take `packages`."""

SPREAD = frozenset({"ray"})
"""Backends that host the guests of another on several machines. None of them is taken unless it is named."""

ALIASES: dict[str, str] = {"pyodide-wasm": "pyodide"}
"""Other names of backends."""

_AUTO = "codemode_sandboxes.choice:AutoSandbox"  # not imported: it makes its backends by `create_sandbox`


def backend_name(name: str) -> str:
    """Return a backend's own name for any of its names.

    Raises:
        UnknownSandbox: No backend has that name.
    """
    own = ALIASES.get(name, name)
    if own not in SANDBOXES:
        close = difflib.get_close_matches(str(name), [*SANDBOXES, *ALIASES, "auto"], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise UnknownSandbox(f"no sandbox is named {name!r}{hint} There are: {', '.join(sorted(SANDBOXES))}, and auto")
    return own


def create_sandbox(name: str, **options: Any) -> Sandbox:
    """Make a sandbox.

    Args:
        name: One of `SANDBOXES`, or an alias; or "auto", which chooses for each program, see `AutoSandbox`.
        options: Arguments of the backend's class.

    Raises:
        UnknownSandbox: No backend has that name.
        SandboxUnavailable: The backend cannot run here.
        TypeError: The backend does not take one of the options.
    """
    module, _, attribute = (_AUTO if name == "auto" else SANDBOXES[backend_name(name)]).partition(":")
    sandbox: Sandbox = getattr(importlib.import_module(module), attribute)(**options)
    return sandbox
