"""Type hints and docstrings: what they say of arguments and of results."""

import inspect
import logging
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
)
from dataclasses import dataclass, field
from inspect import Parameter
from types import NoneType
from typing import Any, get_args, get_origin

import docstring_parser
from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import JsonSchemaMode
from pydantic_core import PydanticSerializationError, to_jsonable_python

from codemode_graph.tools.text import one_line

__all__ = ["Docs", "adapter_of", "complaint", "docs_of", "output_schema_of", "signature_of", "to_plain", "type_hints"]

_logger = logging.getLogger("codemode")
_NO_SIGNATURE = inspect.Signature(
    [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)]
)
_STREAMS = (AsyncIterator, AsyncIterable, AsyncGenerator, Iterator, Generator)


@dataclass(frozen=True, slots=True)
class Docs:
    """What a docstring says: of the function, and of each argument."""

    text: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)


def docs_of(docstring: str | None) -> Docs:
    """Read a docstring in Google's, NumPy's, Epytext's or Sphinx's style, or in none."""
    text = inspect.cleandoc(docstring or "")
    try:
        parsed = docstring_parser.parse(text)
    except Exception:  # A parser of free text fails on free text in ways of its own.
        return Docs(text)
    said = [parsed.short_description, parsed.long_description]
    if parsed.returns is not None and parsed.returns.description:
        said.append(f"Returns: {parsed.returns.description}")
    arguments = {each.arg_name.lstrip("*"): each.description for each in parsed.params if each.description}
    return Docs("\n\n".join(filter(None, said)), arguments)


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Give a function's signature; that of `(*args, **kwargs)` for a builtin that has none."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return _NO_SIGNATURE


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Give a function's hints, `Annotated` included. One that cannot be resolved is Any."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:
        return {name: _resolved(function, hint) for name, hint in _annotations(function).items()}


def _annotations(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return inspect.get_annotations(inspect.unwrap(function))
    except Exception:
        return {}


def _resolved(function: Callable[..., Any], hint: Any) -> Any:
    if not isinstance(hint, str):
        return hint
    plain = inspect.unwrap(getattr(function, "__func__", function))
    cells = zip(plain.__code__.co_freevars, plain.__closure__ or (), strict=False) if inspect.isfunction(plain) else ()
    try:
        names = {name: cell.cell_contents for name, cell in cells}

        def holder() -> None: ...

        holder.__annotations__ = {"hint": hint}
        return typing.get_type_hints(holder, getattr(plain, "__globals__", {}), names, include_extras=True)["hint"]
    except Exception:
        return Any


def adapter_of(hint: Any, what: str, mode: JsonSchemaMode) -> TypeAdapter[Any] | None:
    """Give what validates a hint's values and has a JSON Schema, or None where anything goes.

    Args:
        hint: A resolved type hint.
        what: What it is the hint of, for the log: a hint that cannot be used is no error.
        mode: Whether the schema is of what is put in or of what comes out.
    """
    if hint is Any or hint is Parameter.empty:
        return None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
        adapter.json_schema(mode=mode)
    except Exception as error:
        _logger.warning("the type hint of %s cannot be used, so anything is accepted: %s", what, one_line(error))
        return None
    return adapter


def output_schema_of(hint: Any, what: str) -> dict[str, Any] | None:
    """Give the JSON Schema of what a function with this return hint gives as a tool, or None where it is not known."""
    while get_origin(hint) in (Awaitable, Coroutine):
        hint = get_args(hint)[-1]
    if get_origin(hint) in _STREAMS:
        hint = list[get_args(hint)[0]]  # type: ignore[misc]
    if hint in (None, NoneType, typing.NoReturn):
        return None
    adapter = adapter_of(hint, f"the result of {what}", "serialization")
    schema = adapter.json_schema(mode="serialization") if adapter is not None else {}
    return schema or None


def complaint(error: ValidationError, of: str = "") -> str:
    """Say in short what is wrong with a value: where, what, and what was given.

    Args:
        error: What pydantic raised.
        of: The name of what was validated, put before each place.
    """
    problems = []
    for each in error.errors(include_url=False, include_context=False)[:5]:
        place = ".".join(str(step) for step in (*([of] if of else []), *each["loc"]))
        given = "" if each["type"] == "missing" else f" (got {one_line(repr(each['input']), 60)})"
        problems.append(f"{place}: {each['msg']}{given}" if place else f"{each['msg']}{given}")
    return "; ".join(problems)


def to_plain(value: Any) -> Any:
    """Give a result as plain data: models and dataclasses as dicts, dates as ISO 8601 text, and so on.

    What cannot be dumped is given back as it is.
    """
    try:
        return to_jsonable_python(value, by_alias=True)
    except (PydanticSerializationError, ValueError, TypeError):
        return value
