"""Imports packages out of wheels in memory, for guests have no files; adds bytecode to wheels. Runs inside Pyodide."""

import base64
import importlib
import io
import json
import py_compile
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder, PathDistribution
from importlib.resources.abc import TraversableResources
from importlib.util import cache_from_source, spec_from_loader
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

__all__ = ["WheelImporter", "compile_wheels", "import_ahead"]

_PLACE = "<python>/"
_JAVASCRIPT = ("js", "pyodide", "pyodide_js")


class WheelImporter(MetaPathFinder, SourceLoader):  # type: ignore[misc]  # typeshed's own
    """Finds and loads modules, their resources and their metadata.

    Args:
        archives: The content of the standard library's zip file, parts of which are imported late, and that of each
            wheel. Of files with the same name, that of the first archive counts.
    """

    def __init__(self, archives: Sequence[bytes]) -> None:
        opened = [zipfile.ZipFile(io.BytesIO(archive)) for archive in archives]
        for archive in opened:
            archive.filename = _PLACE[:-1]  # `zipfile.Path` cannot name a file without it
        self._files = {name: archive for archive in reversed(opened) for name in archive.namelist()}
        self._folders = {
            str(folder) for name in self._files if name.endswith(".py") for folder in PurePosixPath(name).parents
        }

    def holds(self, fullname: str) -> bool:
        """Return whether a module is of these packages. One with the name of a standard module never is."""
        if fullname.partition(".")[0] in sys.stdlib_module_names:
            return False
        return self._file(fullname) is not None or fullname.replace(".", "/") in self._folders

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module; a folder of modules without `__init__.py` is a package too."""
        if self._file(fullname) is not None:
            return spec_from_loader(fullname, self)
        if (folder := fullname.replace(".", "/")) not in self._folders:
            return None
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [_PLACE + folder]
        return spec

    def get_filename(self, fullname: str) -> str:
        """Return the `__file__` of a module. Nothing can be opened there."""
        if (file := self._file(fullname)) is None:
            raise ImportError(f"no module named {fullname!r}", name=fullname)
        return _PLACE + file

    def get_data(self, path: str | bytes) -> bytes:
        """Return the content of a file, by a path as in `__file__`."""
        name = str(path).removeprefix(_PLACE)
        if name not in self._files:
            raise FileNotFoundError(f"there is no {path!r}")
        return self._files[name].read(name)

    def path_stats(self, path: str | bytes) -> dict[str, Any]:
        """Return the facts of a file, without which no bytecode is looked for; that of wheels is never out of date."""
        self._files[str(path).removeprefix(_PLACE)]
        return {"mtime": 0}

    def get_resource_reader(self, fullname: str) -> TraversableResources:
        """Return the reader of a package for `importlib.resources`."""
        file = self.get_filename(fullname).removeprefix(_PLACE)
        return _Resources(zipfile.Path(self._files[file], file.rpartition("/")[0] + "/"))

    def find_distributions(self, context: DistributionFinder.Context) -> Iterator[Distribution]:
        """Yield the distributions for `importlib.metadata`."""
        for name, archive in self._files.items():
            folder, _, rest = name.partition("/")
            if rest != "METADATA" or not folder.endswith(".dist-info"):
                continue
            if context.name is None or _same(folder.partition("-")[0], context.name):
                yield PathDistribution(zipfile.Path(archive, folder + "/"))

    def _file(self, fullname: str) -> str | None:
        base = fullname.replace(".", "/")
        return next((file for file in (f"{base}/__init__.py", f"{base}.py") if file in self._files), None)


class _Resources(TraversableResources):
    def __init__(self, folder: zipfile.Path) -> None:
        self._folder = folder

    def files(self) -> Any:
        return self._folder


def import_ahead(importer: WheelImporter, packages: Mapping[str, Sequence[str]]) -> None:
    """Import packages while the interpreter still has files and streams.

    Args:
        importer: Imports the packages; stays in `sys.meta_path`.
        packages: By the name of each package, its top-level modules.

    Raises:
        ImportError: None of a package's modules can be imported.
    """
    # References to JavaScript cannot be in a snapshot, and a guest has no such modules.
    hidden = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in _JAVASCRIPT}
    sys.modules.update(dict.fromkeys((*hidden, *_JAVASCRIPT)))  # type: ignore[arg-type]
    sys.meta_path.append(importer)
    try:
        with redirect_stdout(io.StringIO()):
            for package, modules in packages.items():
                _import_some(package, modules)
    finally:
        for name in _JAVASCRIPT:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)


def compile_wheels(folder: str) -> str:
    """Compile the modules of the wheels in a folder for this Python.

    Returns:
        The wheels with their bytecode, in base64, by their paths, as JSON. Modules of another Python's syntax, which some
        wheels have for tests, have none.
    """
    wheels = sorted(Path(folder).glob("*.whl"))
    return json.dumps({str(wheel): base64.b64encode(_compile(wheel.read_bytes())).decode() for wheel in wheels})


def _compile(wheel: bytes) -> bytes:
    source, compiled = Path("/source.py"), Path("/compiled.pyc")
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheel)) as before, zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as after:
        names = set(before.namelist())
        for file in before.namelist():
            content = before.read(file)
            after.writestr(zipfile.ZipInfo(file), content, zipfile.ZIP_DEFLATED)
            name = cache_from_source(file) if file.endswith(".py") else ""
            # Programs import no tests, and some packages have as many lines of them as of code.
            if not name or name in names or "tests" in file.split("/"):
                continue
            source.write_bytes(content)
            try:
                # Its source stands beside it in the wheel, and nobody changes it: there is nothing to compare.
                mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
                place = _PLACE + file
                py_compile.compile(str(source), str(compiled), dfile=place, doraise=True, invalidation_mode=mode)
            except py_compile.PyCompileError:
                continue
            # The same bytes each time, so that the wheel has the same hash.
            after.writestr(zipfile.ZipInfo(name), compiled.read_bytes(), zipfile.ZIP_DEFLATED)
    return result.getvalue()


def _import_some(package: str, modules: Sequence[str]) -> None:
    problems = []
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}")
    if problems and len(problems) == len(modules):
        raise ImportError(f"the package {package} cannot be imported in Pyodide: {problems[0]}")


def _same(one: str, other: str) -> bool:
    first, second = (re.sub(r"[-_.]+", "-", name).lower() for name in (one, other))
    return first == second
