"""The saved programs in a folder: keep, list, show, check, remove."""

import ast
import json
import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from tokenize import COMMENT, generate_tokens
from typing import Any

import anyio
from codemode_sandboxes import Capabilities
from codemode_sandboxes.source import Tree, tree_of

from codemode_graph.catalogue.field_names import FieldNames
from codemode_graph.catalogue.observation import version_of
from codemode_graph.catalogue.parameterise import Declarations, to_function
from codemode_graph.catalogue.program_file import (
    HEADER,
    SavedProgram,
    called_tools,
    check_name,
    positions,
)
from codemode_graph.catalogue.tally import Tally
from codemode_graph.check.again import without_marks
from codemode_graph.check.pipeline import check_program
from codemode_graph.check.types import TypeChecker
from codemode_graph.errors import ConfigurationError
from codemode_graph.redact import redact
from codemode_graph.tools.signatures import Signatures
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.tools.text import one_line, suggest
from codemode_graph.tools.validation import validator_of, wrong_argument

__all__ = ["SavedPrograms", "with_programs"]

_logger = logging.getLogger("codemode")
_CREDENTIAL = 8  # characters of a text that its name may make a credential: shorter ones are words
_SHORTEST = 4  # characters of a text or digits of a number that may be a value that a tool returned


def with_programs(specs: Sequence[ToolSpec], folder: str | os.PathLike[str] | None) -> tuple[ToolSpec, ...]:
    """Return tools, and behind them the saved programs of a folder as tools.

    A program whose tools are not all there is left out, and so is one that has the name of a tool.
    """
    if folder is None:
        return tuple(specs)
    by_name = {spec.name: spec for spec in specs}
    found: list[ToolSpec] = []
    programs = list(_read(Path(folder)))
    names = {program.name for program in programs}
    for program in programs:
        try:
            missing, moved = program.missing(by_name), program.moved(by_name)
        except ConfigurationError as error:
            _logger.warning("the saved program %s is left out: %s", program.name, error)
            continue
        if missing:
            # A tool may be missing because this process has others; what calls a saved program works nowhere.
            level = logging.WARNING if names.intersection(missing) else logging.INFO
            _logger.log(level, "the saved program %s is left out: %s", program.name, _no_tool(missing, names))
        elif moved is not None:
            _logger.warning("the saved program %s is left out: %s", program.name, moved)
        elif program.name in by_name:
            _logger.warning("the saved program %s is left out: a tool has its name", program.name)
        else:
            found.append(program.to_spec(by_name))
    return (*specs, *found)


class SavedPrograms:
    """The saved programs in a folder, each a file that a person can read.

    Args:
        folder: The folder, or None where programs cannot be saved.
        specs: The tools that they may call.
        capabilities: Returns what the sandbox offers.
        checker: Checks their types; None leaves that out.
        changed: Called after one was saved or removed.
    """

    def __init__(
        self,
        folder: Path | None,
        specs: Sequence[ToolSpec],
        *,
        capabilities: Callable[[], Capabilities],
        checker: TypeChecker | None,
        changed: Callable[[], None],
    ) -> None:
        self.folder = folder
        self._specs = {spec.name: spec for spec in specs}
        self._capabilities, self._checker, self._changed = capabilities, checker, changed

    async def save(
        self,
        result: Mapping[str, Any],
        *,
        name: str,
        description: str = "",
        parameters: Declarations = (),
        overwrite: bool = False,
    ) -> SavedProgram:
        """Keep the program of a run under a name. See `CodeMode.save`."""
        path = self._path(name)
        if path.exists() and not overwrite:
            raise _is_there(path)
        if name in self._specs:
            raise ConfigurationError(f"a tool is called {name!r}: give the program another name")
        if not result["success"]:
            raise ConfigurationError("only a program that succeeded can be saved")
        code = without_marks(result["program"])
        function, schema = to_function(code, name, parameters)
        validator_of(schema, "parameters")
        defaults = {key: each["default"] for key, each in schema["properties"].items() if "default" in each}
        if (wrong := wrong_argument(name, schema, defaults)) is not None:
            raise ConfigurationError(f"{wrong}: that is its default")
        _refuse_credentials(function, description, schema)
        self._refuse_returned_values(function, schema, result)
        tools = called_tools(function, list(self._specs))
        if missing := [tool for tool in tools if tool not in self._specs]:
            raise ConfigurationError(f"the program cannot be saved: there is no tool {', '.join(missing)}")
        program = SavedProgram(
            name=name,
            code=function,
            description=one_line(description, 500),
            parameters=schema,
            tools={tool: version_of(self._specs[tool]) for tool in tools},
            positions=positions(function, self._specs),
            run=result["run_id"] or "",
        )
        # What could not be read again is not written.
        program = SavedProgram.from_text(program.to_text())
        tally = Tally(program.to_spec(self._specs))
        tally.add(result["output"])
        program = replace(program, returns=tally.schema() or None)
        if (problem := await self.problem(program)) is not None:
            raise ConfigurationError(f"the program cannot be saved: {problem}")
        await anyio.to_thread.run_sync(_write, path, program.to_text(), overwrite)
        self._changed()
        return program

    def list(self) -> list[SavedProgram]:
        """Return the programs, by name."""
        return list(_read(self.folder)) if self.folder is not None else []

    def get(self, name: str) -> SavedProgram:
        """Return a program.

        Raises:
            ConfigurationError: There is none of that name, or its file holds none.
        """
        path = self._known(name)
        try:
            return _program_in(path)
        except _UNREADABLE as error:
            raise ConfigurationError(f"{path} holds no saved program: {error}") from None

    def remove(self, name: str) -> SavedProgram | None:
        """Remove a program, and return it; None where changes made by hand have broken it.

        Raises:
            ConfigurationError: There is none of that name, or its file was never one.
        """
        path, program = self._known(name), None
        try:
            program = _program_in(path)
        except _UNREADABLE as error:
            # The folder is the caller's, and may have other files.
            if not path.read_bytes().startswith(HEADER.encode()):
                raise ConfigurationError(f"{path} holds no saved program: {error}") from None
        path.unlink()
        self._changed()
        return program

    async def problem(self, program: SavedProgram) -> str | None:
        """Return why a program does not fit the tools as they are now; None where it does."""
        if (unfit := self._unfit(program)) is not None:
            return unfit
        checked = await check_program(
            program.code,
            signatures=Signatures.of(self._specs.values()),
            capabilities=self._capabilities(),
            type_checker=self._checker,
        )
        return "; ".join(finding["message"] for finding in checked.findings) or None

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Return the program that calls a saved one with these arguments, JSON values.

        Raises:
            ConfigurationError: There is none of that name, it does not fit the tools, or an argument is not of its type.
        """
        program = self.get(name)
        # A program that was left out is no tool: that there is no tool of its name would not say why.
        if (unfit := self._unfit(program)) is not None:
            raise ConfigurationError(f"the saved program {name} cannot be run: {unfit}")
        return program.call(arguments)

    def _unfit(self, program: SavedProgram) -> str | None:
        try:
            missing, moved = program.missing(self._specs), program.moved(self._specs)
        except ConfigurationError as error:
            return str(error)
        if missing:
            return _no_tool(missing, {path.stem for path in _files(self.folder)} if self.folder is not None else ())
        return moved or ("a tool has its name" if program.name in self._specs else None)

    def _path(self, name: str) -> Path:
        check_name(name)
        if self.folder is None:
            raise ConfigurationError("there is no folder for saved programs: give programs=FOLDER, or durable=FILE")
        return self.folder / f"{name}.py"

    def _known(self, name: str) -> Path:
        names = [path.stem for path in _files(self.folder)] if self.folder is not None else []
        if name not in names:
            hint = suggest(name, names) or f"there are {', '.join(names) or 'none'}"
            raise ConfigurationError(f"no saved program is called {name!r}; {hint}")
        return self._path(name)

    def _refuse_returned_values(self, code: str, schema: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Refuse what a tool returned, within a text or a comment of the program, or as a number.

        A program that was repaired may have it written out. The first program was written before any tool was called, so
        what stands in that is no tool's.
        """
        first = result["attempts"][0]["written"] if result["attempts"] else ""
        texts = "\n".join(_texts_of(code))
        found = [each for call in result["tool_calls"] for each in _values_in(call["value"])]
        returned = {str(each).strip(): each for each in found if _stands_in(str(each).strip(), texts)}
        names = [FieldNames(spec) for spec in self._specs.values()]
        defaults = {str(each["default"]).strip() for each in schema["properties"].values() if "default" in each}
        for text in sorted(each for each in returned if not _stands_in(each, first)):
            shown = one_line(repr(returned[text]), 60)
            if text not in defaults and not any(each.is_known(text) for each in names):
                raise ConfigurationError(
                    f"the program has {shown} in it, which a tool returned: make it a parameter, such as "
                    f"parameters={{'value': {shown}}}, or leave it out of texts and comments"
                )


def _no_tool(missing: Sequence[str], programs: Collection[str]) -> str:
    """Return what to say of tools that are not there, some of which may be saved programs."""
    nested = [name for name in missing if name in programs]
    reason = f"; {nested[0]} is a saved program, and none can call another one or itself" if nested else ""
    return f"there is no tool {', '.join(missing)}{reason}"


def _is_there(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"a program is saved in {path}, perhaps with changes made by hand: give another name, or remove it first, or say "
        "overwrite=True (--overwrite on the command line)"
    )


def _write(path: Path, text: str, overwrite: bool) -> None:
    """Write a file whole or not at all: another process may read the folder now, or save under the same name."""
    # A program holds constants of its author, so its file is as private as the journal.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".", delete=False) as draft:
        try:
            draft.write(text)
            draft.close()
            if overwrite:
                Path(draft.name).replace(path)
                return
            # Unlike a rename this fails where a file has come there since, with changes that nobody else has.
            path.hardlink_to(draft.name)
        except FileExistsError:
            Path(draft.name).unlink()
            raise _is_there(path) from None
        except BaseException:
            Path(draft.name).unlink()
            raise
        Path(draft.name).unlink()


_UNREADABLE = (ConfigurationError, OSError, UnicodeDecodeError)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if path.is_file())


def _read(folder: Path) -> Iterator[SavedProgram]:
    for path in _files(folder):
        try:
            yield _program_in(path)
        except _UNREADABLE as error:
            _logger.warning("%s is left out: %s", path, error)


def _program_in(path: Path) -> SavedProgram:
    program = SavedProgram.from_text(path.read_text(encoding="utf-8-sig"))  # editors of Windows write a mark first
    if program.name != path.stem:
        raise ConfigurationError(f"its function is called {program.name}")
    check_name(program.name)
    return program


def _refuse_credentials(code: str, description: str, schema: Mapping[str, Any]) -> None:
    """Refuse what looks like a credential in a program, which goes into a file for people and version control."""
    tree = tree_of(code)
    texts = {description, json.dumps(schema, ensure_ascii=False), *_texts_of(code)}
    # Of `password = "..."` neither the constant nor the line, which may hold a call, says that it is one.
    texts |= {f"{name}={value}" for name, value in _named_texts(tree) if len(value) >= _CREDENTIAL}
    if any(redact(text, limit=len(text)) != text for text in texts):
        raise ConfigurationError(
            "the program has what looks like a credential in it: make it a parameter by its type, such as "
            "parameters={'key': str}, or let the tool have it"
        )


def _named_texts(tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield each text that a program writes out as a variable, an argument or an item of a dict, with that name."""
    for node in tree.nodes:
        pairs: Iterable[tuple[ast.expr | None, ast.expr | None]] = ()
        match node:
            case ast.Assign(targets=targets, value=value):
                pairs = [(target, value) for target in targets]
            case ast.AnnAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
                pairs = [(target, value)]
            case ast.keyword(arg=str(name), value=value):
                pairs = [(ast.Constant(name), value)]
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
        for key, value in pairs:
            match key, value:
                case (
                    (
                        ast.Name(id=name)
                        | ast.Constant(value=str(name))
                        | ast.Subscript(slice=ast.Constant(value=str(name)))
                    ),
                    ast.Constant(value=str(text)),
                ):
                    yield name, text


def _texts_of(code: str) -> set[str]:
    """Return the constants of a program, as texts, and its comments."""
    lines = StringIO(code).readline
    comments = {token.string for token in generate_tokens(lines) if token.type == COMMENT}
    constants = {str(node.value) for node in tree_of(code).of(ast.Constant) if not isinstance(node.value, bool)}
    return comments | constants


def _stands_in(text: str, whole: str) -> bool:
    """Return whether a text stands in another by itself, not as a part of a word."""
    # A text that a tool returned may have megabytes, which no pattern should.
    if len(text) < _SHORTEST or text not in whole:
        return False
    return re.search(rf"(?<!\w){re.escape(text)}(?!\w)", whole) is not None


def _values_in(value: Any) -> Iterator[str | int | float]:
    """Yield the texts and numbers of a JSON value, keys included."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from (key, *_values_in(item))
    elif isinstance(value, list):
        for item in value:
            yield from _values_in(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield value
