"""The Python inside Pyodide: `prepare` runs before the snapshot is made, `serve` in each guest that starts from it.

This file runs as `__main__`; the modules that it imports are below `/guest`.
"""

import errno
import importlib
import json
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["prepare", "serve"]

# What the standard library of this Python imports only when it needs it, beyond what `preload` knows of.
_LAZY = ("_ast_unparse", "_py_warnings", "annotationlib", "string.templatelib")

_PACKAGES = Path("/packages")
_ARRAY_BYTES = 1 << 16

_parts: dict[str, Any] = {}  # what `prepare` leaves for `serve`: globals are part of the snapshot


def prepare() -> None:
    """Import all that programs are promised, with the program's clock in place.

    Raises:
        ImportError: A package that was requested cannot be imported.
    """
    package = types.ModuleType("codemode_sandboxes")  # stands for the package, whose own code is the host's
    package.__path__ = ["/guest/codemode_sandboxes"]
    sys.modules[package.__name__] = package
    from codemode_sandboxes.guest import clock as clocks

    _parts["clock"] = clocks.Clock()
    clocks.install(_parts["clock"])
    from codemode_sandboxes.guest import runner, wire
    from codemode_sandboxes.guest.preload import preload

    for name in _LAZY:
        importlib.import_module(name)
    packages = _import_packages() if _PACKAGES.exists() else {}
    for name in packages:
        del sys.modules[name]  # `preload` takes modules' places away, and packages read their resources by them
    preload()
    sys.modules.update(packages)
    time.tzname = ("UTC", "UTC")  # Emscripten invents names
    _parts["runner"], _parts["wire"] = runner, wire


def _import_packages() -> dict[str, types.ModuleType]:
    """Import the packages, and return the modules that this imported; programs can import the others later."""
    from codemode_sandboxes.wheels import WheelImporter, import_ahead  # type: ignore[import-not-found]

    library = next(Path(place) for place in sys.path if place.endswith(".zip"))
    wheels = [path.read_bytes() for path in sorted(_PACKAGES.glob("*.whl"))]
    _parts["importer"] = WheelImporter([library.read_bytes(), *wheels])
    import_ahead(_parts["importer"], json.loads((_PACKAGES / "requested.json").read_text()))
    return {name: module for name, module in sys.modules.items() if _parts["importer"].holds(name)}


def _no_processes(command: Any) -> int:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def serve(
    attach: Callable[[bytearray], None],
    read: Callable[[int], int],
    write: Callable[[int], int],
    leave: Callable[[int], NoReturn],
) -> NoReturn:
    """Serve one program.

    Args:
        attach: Takes the array through which all bytes go.
        read: Reads at most this many bytes into the array and returns their number; 0 at the end of the input.
        write: Writes this many bytes of the array and returns the number of those that were written.
        leave: Ends the process with a status.
    """
    import asyncio

    # Programs must not reach JavaScript; the jail holds those that do.
    for name in [name for name in sys.modules if name.partition(".")[0] in ("js", "pyodide_js", "pyodide", "micropip")]:
        del sys.modules[name]
    sys.meta_path[:] = [_parts["importer"]] if "importer" in _parts else []
    os.system = _no_processes  # Emscripten's own would end the interpreter
    asyncio._set_running_loop(None)
    array = bytearray(_ARRAY_BYTES)
    attach(array)
    view = memoryview(array)

    def receive(size: int) -> bytes:
        return bytes(view[: read(min(size, _ARRAY_BYTES))])

    def send(data: memoryview) -> int:
        size = min(len(data), _ARRAY_BYTES)
        view[:size] = data[:size]
        return write(size)

    receive(0)  # so that WebAssembly's compiler has done its work before the first answer comes
    conversation = _parts["wire"].Wire(receive, send, leave)
    serve_program: Callable[..., NoReturn] = _parts["runner"].serve
    serve_program(conversation, _parts["clock"], lambda limits: None)
